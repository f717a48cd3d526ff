import{b as r,c as h,d as f,e as c,f as d,g as u}from"./chunk.js";import{io as m}from"/socket.io/socket.io.esm.min.js";var I={offer:"offer",answer:"answer",candidate:"ice-candidate"},E=Object.values(I),l=class extends u{#e;#s;#o;#t=!1;constructor({
url:t="/",userId:s,name:e,token:n}){super({url:t,token:n}),this.#s=s,this.#o=e,this.#e=m(t,{autoConnect:!1,forceNew:!0,transports:[
"websocket","polling"],tryAllTransports:!0,reconnectionDelay:c.firstMs,reconnectionDelayMax:c.longestMs,randomizationFactor:c.
chance,auth:o=>o(this.token?{token:this.token}:{})}),this.#c()}get userId(){return this.#s}get online(){return this.#t&&
this.#e.connected}async enter(){return await this.#i(),this.#r()}disconnect(){this.#t=!1,this.#e.disconnect()}sendLeave(t){
this.#e.emit("leave-room",{roomId:t})}authenticate(t){return this.#n("auth",{token:t})}async transmit(t,s,e,n){if(!this.
online)throw new r("OFFLINE");return this.#n(I[t],{...n,targetId:s,[t]:e,roomId:this.roomId})}async transmitMessage(t,s,e){
if(!this.online)throw new r("OFFLINE");return this.#n(t,{...s,...e&&{targetId:e},roomId:this.roomId})}async comeBack(){if(!this.#e.
connected)return void this.#e.connect();try{await this.#r()}catch(t){this.#e.connected&&this.refused(t)}}networkBack(){this.
joined&&!this.#e.connected&&this.#e.disconnect().connect()}async#r(){let t=await this.#n("join-room",{roomId:this.roomId,
userId:this.#s,name:this.#o});return this.arrived({recovered:!1}),{...t,users:t.users.map(a)}}async#n(t,s){if(!this.#e.connected)
throw new r("OFFLINE");let e;try{e=await this.#e.timeout(d).emitWithAck(t,s)}catch{throw new r(this.#e.connected?"TIMEOU\
T":"OFFLINE")}if(e?.ok)return e;throw new r(e?.code??"INTERNAL",e?.error,e?.retryAfterMs)}#i(){let t=this.#e;return t.connected?
Promise.resolve():new Promise((s,e)=>{let n=o=>{t.off("connect",n),t.off("connect_error",n),o?e(w(o)):s()};t.on("connect",
n),t.on("connect_error",n),t.connect()})}#c(){let t=this.#e,s="OFFLINE";t.on("room-joined",({users:e,userId:n,iceServers:o})=>{
this.#t=!0,this.tell("room-users",{users:e.map(a),userId:n,iceServers:o})});for(let e of["user-joined","user-away","user\
-back","user-updated"])t.on(e,n=>this.tell(e,a(n)));t.on("user-left",e=>this.tell("user-left",{...a(e),reason:e.reason}));
for(let e of["offer","answer","ice-candidate"])t.on(e,({user:n,...o})=>this.tell(e,o));t.onAny((e,n)=>{typeof n?.from=="\
string"&&!E.includes(e)&&this.tell("application",{from:n.from,topic:e,data:n})}),t.on("error",e=>{s=e?.code??"INTERNAL",
this.endIfFinal(new r(s,e?.message,e?.retryAfterMs))}),t.on("connect",()=>{s="OFFLINE",this.#t&&=t.recovered,this.#t?this.
arrived({recovered:!0}):this.joined&&this.comeBack()}),t.on("connect_error",e=>{this.joined&&!t.active&&this.refused(w(e))}),
t.on("disconnect",e=>{this.dropped(e,s),this.joined&&e==="io server disconnect"&&this.retryLater()})}};function a(i){return f(
i,i)}function w(i){return new r(h(i.message)??"UNREACHABLE",i.message)}export{l as SocketIoSignaling};
