import{b as r,c as h,d as f,e as c,f as d,g as u}from"./chunk.js";import{io as m}from"/socket.io/socket.io.esm.min.js";var I={offer:"offer",answer:"answer",candidate:"ice-candidate"},E=Object.values(I),l=class extends u{#e;#o;#s;#t=!1;constructor({
url:t="/",userId:o,name:e,token:n}){super({url:t,token:n}),this.#o=o,this.#s=e,this.#e=m(t,{autoConnect:!1,forceNew:!0,transports:[
"websocket","polling"],tryAllTransports:!0,reconnectionDelay:c.firstMs,reconnectionDelayMax:c.longestMs,randomizationFactor:c.
chance,auth:s=>s(this.token?{token:this.token}:{})}),this.#c()}get userId(){return this.#o}get online(){return this.#t&&
this.#e.connected}async enter(){return await this.#i(),this.#r()}disconnect(){this.#t=!1,this.#e.disconnect()}goodbye(t){
this.#e.emit("leave-room",{roomId:t})}authenticate(t){return this.#n("auth",{token:t})}async transmit(t,o,e,n){if(!this.
online)throw new r("OFFLINE");return this.#n(I[t],{...n,targetId:o,[t]:e,roomId:this.roomId})}async transmitMessage(t,o,e){
if(!this.online)throw new r("OFFLINE");return this.#n(t,{...o,...e&&{targetId:e},roomId:this.roomId})}async comeBack(){if(!this.#e.
connected)return void this.#e.connect();try{await this.#r()}catch(t){this.#e.connected&&this.refused(t)}}networkBack(){this.
joined&&!this.#e.connected&&this.#e.disconnect().connect()}async#r(){let t=await this.#n("join-room",{roomId:this.roomId,
userId:this.#o,name:this.#s});return this.arrived({recovered:!1}),{...t,users:t.users.map(a)}}async#n(t,o){if(!this.#e.connected)
throw new r("OFFLINE");let e;try{e=await this.#e.timeout(d).emitWithAck(t,o)}catch{throw new r(this.#e.connected?"TIMEOU\
T":"OFFLINE")}if(e?.ok)return e;throw new r(e?.code??"INTERNAL",e?.error,e?.retryAfterMs)}#i(){let t=this.#e;return t.connected?
Promise.resolve():new Promise((o,e)=>{let n=s=>{t.off("connect",n),t.off("connect_error",n),s?e(w(s)):o()};t.on("connect",
n),t.on("connect_error",n),t.connect()})}#c(){let t=this.#e,o="OFFLINE";t.on("room-joined",({users:e,userId:n,iceServers:s})=>{
this.#t=!0,this.tell("room-users",{users:e.map(a),userId:n,iceServers:s})});for(let e of["user-joined","user-away","user\
-back","user-updated"])t.on(e,n=>this.tell(e,a(n)));t.on("user-left",e=>this.tell("user-left",{...a(e),reason:e.reason}));
for(let e of["offer","answer","ice-candidate"])t.on(e,({user:n,...s})=>this.tell(e,s));t.onAny((e,n)=>{typeof n?.from=="\
string"&&!E.includes(e)&&this.tell("application",{from:n.from,topic:e,data:n})}),t.on("error",e=>{o=e?.code??"INTERNAL",
this.endIfFinal(new r(o,e?.message,e?.retryAfterMs))}),t.on("connect",()=>{o="OFFLINE",this.#t&&=t.recovered,this.#t?this.
arrived({recovered:!0}):this.joined&&this.comeBack()}),t.on("connect_error",e=>{this.joined&&!t.active&&this.refused(w(e))}),
t.on("disconnect",e=>{this.dropped(e,o),this.joined&&e==="io server disconnect"&&this.retryLater()})}};function a(i){return f(
i,i)}function w(i){return new r(h(i.message)??"UNREACHABLE",i.message)}export{l as SocketIoSignaling};
