var p=new Set(["TIMEOUT","OFFLINE","UNREACHABLE","RATE_LIMITED","LIMIT_REACHED","SHUTTING_DOWN","INTERNAL"]),w=new Set([
"REPLACED","ROOM_CLOSED","KICKED","UNAUTHORIZED","FORBIDDEN"]),r=class extends Error{constructor(e,t,s){super(t||e),this.
name="SignalingError",this.code=e,this.retryAfterMs=s}},u=({code:n})=>p.has(n),f=({code:n})=>w.has(n);function L(n){return/^[A-Z]+(?:_[A-Z]+)+|^UNAUTHORIZED|^FORBIDDEN|^REPLACED|^INTERNAL/.
exec(n??"")?.[0]}function g({userId:n,socketId:e,roomId:t,joinedAt:s},i){return{id:n,userId:n,...t&&{roomId:t},...e&&{socketId:e},...s&&{
joinedAt:s},...typeof i?.name=="string"&&{name:i.name},...["sfu","auto"].includes(i?.media)&&{media:i.media},...["mesh",
"sfu"].includes(i?.mode)&&{mode:i.mode,asked:i.asked===!0}}}var o=Object.freeze({firstMs:500,longestMs:4e3,chance:.5}),h=class{#n=0;#e;#t;constructor(e){this.#t=e}get isWaiting(){return this.#e!==
void 0}schedule(e=0){let t=Math.min(o.longestMs,o.firstMs*2**this.#n++),s=Math.max(t*(1-o.chance*Math.random()),e*(1+o.chance*
Math.random()));this.cancel(),this.#e=setTimeout(()=>{this.#e=void 0,this.#t()},s)}cancel(){clearTimeout(this.#e),this.#e=
void 0}reset(){this.cancel(),this.#n=0}};var a=class extends EventTarget{addEventListener(e,t,s){super.addEventListener(e,t,s)}removeEventListener(e,t,s){super.removeEventListener(
e,t,s)}tell(e,t){this.dispatchEvent(new CustomEvent(e,{detail:t}))}};var x=8e3,I=3e3,E=class extends a{#n;#e;#t=null;#s=!1;#i=new h(()=>this.reconnect());#o=[];#r=new AbortController;constructor({
url:e="/",token:t}={}){super(),this.#n=e,this.#e=t}get userId(){}get online(){return!1}get roomId(){return this.#t}async join(e){
this.#t=e,this.#r.abort(),this.#r=new AbortController;let{signal:t}=this.#r;globalThis.addEventListener?.("offline",()=>this.
networkLost(),{signal:t}),globalThis.addEventListener?.("online",()=>this.networkBack(),{signal:t});try{return await this.
enter(e)}catch(s){throw this.close(),s}}leave(){this.#t!==null&&this.online&&this.sendLeave(this.#t),this.close()}close(){
this.#r.abort(),this.#i.reset(),this.#t=null,this.#s=!1,this.disconnect(),this.#a()}offer(e,t,s){return this.#h("offer",
e,t,s)}answer(e,t,s){return this.#h("answer",e,t,s)}candidate(e,t,s){return this.#h("candidate",e,t,s)}async message(e,t,s){
await this.transmitMessage(e,{...t,topic:e},s)}async iceServers(){try{let e=this.#e?{authorization:`Bearer ${this.#e}`}:
void 0,t=await fetch(this.address("/api/ice-servers"),{headers:e,signal:AbortSignal.timeout(I)});return t.ok?(await t.json()).
iceServers:void 0}catch{return}}async renew(e){this.online&&await this.authenticate(e),this.#e=e}get token(){return this.#e}get joined(){
return this.#s}address(e){return new URL(e,new URL(this.#n,globalThis.location?.href))}enter(e){throw new Error("not imp\
lemented by this protocol")}transmit(e,t,s,i){throw new Error("not implemented by this protocol")}async transmitMessage(e,t,s){
throw new r("UNSUPPORTED")}reconnect(){}networkLost(){}networkBack(){this.#i.isWaiting&&(this.#i.cancel(),this.reconnect())}disconnect(){}sendLeave(e){}authenticate(e){
return Promise.resolve()}arrived({recovered:e}){this.#i.reset();let t=this.#s;this.#s=!0,e?this.#c():this.#a(),t&&this.tell(
"online",{recovered:e})}dropped(e,t){this.#s&&this.tell("offline",{reason:e,code:t})}refused(e){this.#t!==null&&(u(e)?this.
retryLater(e.retryAfterMs):this.end(e))}retryLater(e=0){this.#i.schedule(e)}endIfFinal(e){let t=f(e);return t&&this.end(
e),t}end(e){this.#t!==null&&(this.close(),this.tell("ended",e))}#h(e,t,s,i){return new Promise((m,c)=>{let l=()=>{this.transmit(
e,t,s,i).then(()=>m(),d=>{d.code==="OFFLINE"&&this.#s?this.#o.push({send:l,fail:c}):c(d)})};l()})}#c(){for(let{send:e}of this.#o.
splice(0))e()}#a(){for(let{fail:e}of this.#o.splice(0))e(new r("OFFLINE"))}};export{a,r as b,L as c,g as d,o as e,x as f,E as g};
