import{b as r,c as h,d as f,e as c,f as d,g as u}from"./chunk.js";import{io as l}from"/socket.io/socket.io.esm.min.js";var I={offer:"offer",answer:"answer",candidate:"ice-candidate"},E=Object.values(I),m=class extends u{#e;#s;#o;#t=!1;#r;constructor({
url:e="/",userId:s,name:t,token:n}){super({url:e,token:n}),this.#s=s,this.#o=t,this.#e=l(e,{autoConnect:!1,forceNew:!0,transports:[
"websocket","polling"],tryAllTransports:!0,reconnectionDelay:c.firstMs,reconnectionDelayMax:c.longestMs,randomizationFactor:c.
chance,auth:o=>o(this.token?{token:this.token}:{})}),this.#a()}get userId(){return this.#s}get online(){return this.#t&&
this.#e.connected}async enter(){return await this.#c(),this.#i()}disconnect(){this.#t=!1,this.#e.disconnect()}sendLeave(e){
this.#e.emit("leave-room",{roomId:e})}authenticate(e){return this.#n("auth",{token:e})}async transmit(e,s,t,n){if(!this.
online)throw new r("OFFLINE");return this.#n(I[e],{...n,targetId:s,[e]:t,roomId:this.roomId})}async transmitMessage(e,s,t){
if(!this.online)throw new r("OFFLINE");return this.#n(e,{...s,...t&&{targetId:t},roomId:this.roomId})}async reconnect(){
if(!this.#e.connected)return void this.#e.connect();try{await this.#i()}catch(e){this.#e.connected&&this.refused(e)}}networkBack(){
this.joined&&!this.#e.connected&&this.#e.disconnect().connect()}async#i(){let e=await this.#n("join-room",{roomId:this.roomId,
userId:this.#s,name:this.#o});return this.arrived({recovered:!1}),{...e,users:e.users.map(a)}}async#n(e,s){if(!this.#e.connected)
throw new r("OFFLINE");let t;try{t=await this.#e.timeout(d).emitWithAck(e,s)}catch{throw new r(this.#e.connected?"TIMEOU\
T":"OFFLINE")}if(t?.ok)return t;throw new r(t?.code??"INTERNAL",t?.error,t?.retryAfterMs)}#c(){let e=this.#e;return e.connected?
Promise.resolve():new Promise((s,t)=>{let n=o=>{e.off("connect",n),e.off("connect_error",n),o?t(w(o)):s()};e.on("connect",
n),e.on("connect_error",n),e.connect()})}#a(){let e=this.#e,s="OFFLINE";e.on("room-joined",({users:t,userId:n,iceServers:o})=>{
this.#t=!0,this.tell("room-users",{users:t.map(a),userId:n,iceServers:o})});for(let t of["user-joined","user-away","user\
-back","user-updated"])e.on(t,n=>this.tell(t,a(n)));e.on("user-left",t=>this.tell("user-left",{...a(t),reason:t.reason}));
for(let t of["offer","answer","ice-candidate"])e.on(t,({user:n,...o})=>this.tell(t,o));e.onAny((t,n)=>{typeof n?.from=="\
string"&&!E.includes(t)&&this.tell("application",{from:n.from,topic:t,data:n})}),e.on("error",t=>{s=t?.code??"INTERNAL",
this.endIfFinal(new r(s,t?.message,t?.retryAfterMs))}),e.on("connect",()=>{s="OFFLINE",this.#t&&=e.recovered||e.id===this.#r,
this.#r=e.id,this.#t?this.arrived({recovered:!0}):this.joined&&this.reconnect()}),e.on("connect_error",t=>{this.joined&&
!e.active&&this.refused(w(t))}),e.on("disconnect",t=>{this.dropped(t,s),this.joined&&t==="io server disconnect"&&this.retryLater()})}};
function a(i){return f(i,i)}function w(i){return new r(h(i.message)??"UNREACHABLE",i.message)}export{m as SocketIoSignaling};
