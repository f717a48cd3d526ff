import{a as O,b as w,c as st,d as K,f as it,g as nt}from"./chunk.js";var Ce="raise-hand",rt="reaction",Re=["\u{1F44D}","\u2764\uFE0F","\u{1F602}","\u{1F44F}","\u{1F389}","\u{1F62E}"],J=class extends EventTarget{#e;#s=new Set;isRaised=!1;constructor(e,t){
super(),this.#e=e,e.addEventListener("application",({detail:s})=>this.#i(s),{signal:t}),e.addEventListener("user-joined",
({detail:s})=>this.isRaised&&this.#t(Ce,{raised:!0},s.userId),{signal:t}),e.addEventListener("user-left",({detail:s})=>this.#s.
delete(s.userId),{signal:t})}hasRaised(e){return this.#s.has(e)}raise(e){this.isRaised=e,this.#t(Ce,{raised:e})}react(e){
this.#t(rt,{emoji:e})}#t(e,t,s){this.#e.message(e,t,s).catch(()=>{})}#i({from:e,topic:t,data:s}){t===Ce&&typeof s?.raised==
"boolean"?(s.raised?this.#s.add(e):this.#s.delete(e),this.dispatchEvent(new CustomEvent("hand",{detail:{id:e,raised:s.raised}}))):
t===rt&&Re.includes(s?.emoji)&&this.dispatchEvent(new CustomEvent("reaction",{detail:{id:e,emoji:s.emoji}}))}};var zt=/[\p{Cc}\p{Co}\p{Cn}\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffc]/gu,Kt=/(\p{M}{3})\p{M}+/gu;
function T(n){if(typeof n!="string")return"";let e=n.slice(0,1e3).replace(zt,"").replace(Kt,"$1").replace(/\s+/gu," ").trim();
return/[\p{L}\p{N}\p{P}\p{S}]/u.test(e)?Ne(e).slice(0,40).join("").trim():""}function Ne(n){return Intl.Segmenter?Array.
from(new Intl.Segmenter().segment(n),({segment:e})=>e):[...n]}var a=n=>document.getElementById(n),k=n=>a(n).content.firstElementChild.cloneNode(!0),ot="http://www.w3.org/2000/svg";function G(n){
let e=document.createElementNS(ot,"svg");e.setAttribute("class","icon"),e.setAttribute("aria-hidden","true");let t=document.
createElementNS(ot,"use");return t.setAttribute("href",`#i-${n}`),e.append(t),e}function B(n,{name:e,label:t,title:s,key:i,
pressed:r,word:o}){let c=[G(e)];if(o){let h=document.createElement("span");h.className="tool-word",h.textContent=o,c.push(
h)}n.replaceChildren(...c),n.title=i?`${s} (${i.toUpperCase()})`:s,n.setAttribute("aria-label",t),i&&n.setAttribute("ari\
a-keyshortcuts",i),r!==void 0&&n.setAttribute("aria-pressed",String(r))}function at(n){let e=document.createElement("bdi");
return e.textContent=n,e}function N(n){a("announcer").textContent=n}function y(n,e){n.textContent=e,n.hidden=!e}function Z(n,e,t){
let s=t.split(/\s+/).filter(Boolean),i=s.length>1?[s[0],s.at(-1)]:s;n.textContent=i.map(o=>Ne(o)[0].toUpperCase()).join(
"");let r=0;for(let o of e)r=r*31+o.codePointAt(0)>>>0;n.style.setProperty("--hue",String(r%360))}async function ct(n){try{
return await navigator.clipboard.writeText(n),!0}catch{let e=document.createElement("textarea");e.value=n,e.className="v\
isually-hidden",document.body.append(e),e.select();let t=document.execCommand("copy");return e.remove(),t}}function I(n,e){try{return window[`${n}Storage`].getItem(e)}catch{return null}}function x(n,e,t){try{window[`${n}Storage`].
setItem(e,t)}catch{}return t}function _(n,e){try{window[`${n}Storage`].removeItem(e)}catch{}}function dt(n){try{let e=atob(
n.split(".")[1].replaceAll("-","+").replaceAll("_","/"));return JSON.parse(new TextDecoder().decode(Uint8Array.from(e,t=>t.
charCodeAt(0)))).sub}catch{return}}var ht=["amber","brass","cedar","coral","ivory","linen","maple","olive","pearl","slat\
e","umber","walnut"],lt=["alcove","atrium","cabinet","gallery","hearth","lantern","mantel","parquet","settee","veranda"];
function ut(){let n=e=>crypto.getRandomValues(new Uint32Array(1))[0]%e;return`${ht[n(ht.length)]}-${lt[n(lt.length)]}-${1e4+
n(9e4)}`}var mt="chat-message",Jt=new Set([mt,"chat","message","send-message"]),Zt=2e3,Xt=200,Qt=12e4,X=class extends EventTarget{#e=a(
"chat-log");#s;#t;#i;#r;#n;#o={id:"",at:0};constructor({room:e,self:t,signaling:s,call:i,signal:r}){super(),this.#s=`par\
lor.chat.${e}`,this.#t=t,this.#i=s,this.#r=i,this.#n=JSON.parse(I("session",this.#s)??"[]");for(let o of this.#n)this.#d(
o);a("chat-form").addEventListener("submit",o=>this.#a(o),{signal:r}),i.addEventListener("chat",({detail:{member:o,text:c}})=>this.#c(
o.id,c),{signal:r}),s.addEventListener("application",({detail:{from:o,topic:c,data:h}})=>{Jt.has(c)&&this.#c(o,es(h),h?.
name??h?.userName)},{signal:r})}clear(){this.#e.firstElementChild.replaceChildren(),a("chat-empty").hidden=!1}async#a(e){
e.preventDefault();let t=a("chat-text").value.trim();if(!t)return;a("chat-text").value="";let s=this.#l({...this.#t,text:t,
self:!0,at:Date.now()});await this.#i.message(mt,{text:t,name:this.#t.name}).then(()=>!0,()=>this.#r.chat(t)>0)||s.append(
_e("message-note","No one was here to receive this."))}#c(e,t,s){if(typeof t!="string"||!t.trim())return;let i=this.#r.members.
get(e)?.name||T(s)||"Guest",r={id:e,name:i,text:t.slice(0,Zt),self:!1,at:Date.now()};this.#l(r),this.dispatchEvent(new CustomEvent(
"message",{detail:r}))}#l(e){return this.#n=[...this.#n,e].slice(-Xt),x("session",this.#s,JSON.stringify(this.#n)),this.#d(
e)}#d({id:e,name:t,text:s,self:i,at:r}){let o=document.createElement("li");if(o.className=i?"message message-self":"mess\
age",e!==this.#o.id||r-this.#o.at>Qt){let d=_e("message-heading"),l=document.createElement("b");l.append(i?"You":at(t));
let u=document.createElement("time");u.textContent=new Date(r).toLocaleTimeString([],{hour:"2-digit",minute:"2-digit"}),
d.append(l,u),o.append(d)}this.#o={id:e,at:r};let c=_e("message-text");c.dir="auto",c.append(...ts(s)),o.append(c);let h=this.#e.
scrollHeight-this.#e.scrollTop-this.#e.clientHeight<60;return this.#e.firstElementChild.append(o),a("chat-empty").hidden=
!0,(h||i)&&(this.#e.scrollTop=this.#e.scrollHeight),o}};function es(n){return typeof n=="string"?n:n?.text??n?.message??
n?.content}function _e(n,e=""){return Object.assign(document.createElement("p"),{className:n,textContent:e})}function ts(n){
return n.split(/(https?:\/\/[^\s<>"]+)/).map((e,t)=>t%2===0?e:Object.assign(document.createElement("a"),{href:e,target:"\
_blank",rel:"noopener noreferrer",textContent:e}))}var ss={ROOM_FULL:"This room is full. Ask someone to leave, or choose another room.",ROOM_NOT_FOUND:"There is no such ro\
om. Check the link, or ask for a new one.",INVALID_MESSAGE:"The server did not accept the room or the name. Both may hav\
e up to 128 ordinary characters.",UNAUTHORIZED:"This server asks for a token, and yours is missing or has expired. Ask f\
or a new link.",FORBIDDEN:"Your token does not allow this room.",RATE_LIMITED:"Too many messages at once. Wait a moment \
and try again.",LIMIT_REACHED:"The server has reached its limit of rooms. Try again later.",REPLACED:"You joined this ro\
om from another tab or device, and the call continues there.",HUNG_UP:"The other person hung up.",ROOM_CLOSED:"The room \
was closed by its operator.",SHUTTING_DOWN:"The server is restarting. Try again in a moment.",PAYLOAD_TOO_LARGE:"The mes\
sage is too large for the server.",UNREACHABLE:"The server cannot be reached. Check your network, then try again.",OFFLINE:"\
The connection to the server was lost. Try again.",TRANSPORT_ERROR:"The media server is not available, so the call is a \
mesh.",NO_BUNDLE:"The media server needs mediasoup-client, which this server does not have, so the call is a mesh.",TARGET_NOT_FOUND:"\
That person has left.",TIMEOUT:"The server did not respond in time. Try again."};function D(n){return ss[n.code]??`Somet\
hing went wrong on the server (${n.message||n.code||"no reason given"}).`}var De={audio:"microphone",video:"camera",both:"\
camera or microphone"};function Q({audio:n,video:e}){return n&&e&&n.name===e.name?$e(n,De.both):[n&&$e(n,De.audio),e&&$e(
e,De.video)].filter(Boolean).join(" ")}function $e(n,e){switch(n.name){case"NotAllowedError":return/system/i.test(n.message)?
`The operating system refused access to your ${e.replace(" or "," and ")}. Allow it for the browser in the system\u2019s priv\
acy settings, then try again.`:`The browser refused access to your ${e.replace(" or "," and ")}. Allow it beside the add\
ress bar, then try again.`;case"NotFoundError":case"OverconstrainedError":return`No ${e} was found. Connect one, then tr\
y again.`;case"NotReadableError":case"AbortError":return`Your ${e} is in use by another program. Close that, then try ag\
ain.`;case"NotSupportedError":return"This page was loaded without https, so the browser does not allow camera and microp\
hone. Open it with https, or on this computer as localhost.";default:return`Your ${e} could not be opened (${n.message||
n.name}).`}}var ee="Your microphone is muted by the system or by a switch at the device: the others cannot hear you. Unm\
ute it there.",ft="You can join without it: you will see and hear the others.",is={timeout:"lost the connection",disconnected:"\
lost the connection",kicked:"was removed"};function pt(n,e){return`${n} ${is[e]??"left"}`}var j=class{#e=null;read(e){let t=[...e.values()],s=(f,z)=>t.filter(Me=>Me.type===f).reduce((Me,Vt)=>Me+(Vt[z]??0),0),i=t.
find(f=>f.type==="transport"),r=e.get(i?.selectedCandidatePairId)??t.find(f=>f.type==="candidate-pair"&&f.nominated&&f.state===
"succeeded"),o=t.find(f=>f.type==="inbound-rtp"&&f.kind==="video"),c={at:performance.now(),received:s("inbound-rtp","byt\
esReceived"),sent:s("outbound-rtp","bytesSent"),packets:s("inbound-rtp","packetsReceived"),lost:s("inbound-rtp","packets\
Lost")},h=this.#e??c;this.#e=c;let d=f=>c.at>h.at?Math.max(0,(c[f]-h[f])*8e3/(c.at-h.at)):0,[l,u]=[c.packets-h.packets,Math.
max(0,c.lost-h.lost)],m=new Set(t.filter(f=>f.type==="inbound-rtp").map(f=>e.get(f.codecId)?.mimeType?.split("/")[1])),g=[
r?.localCandidateId,r?.remoteCandidateId].some(f=>e.get(f)?.candidateType==="relay");return{bitrateIn:d("received"),bitrateOut:d(
"sent"),roundTripTime:r?.currentRoundTripTime??null,path:r?g?"relayed":"direct":"",width:o?.frameWidth,height:o?.frameHeight,
framesPerSecond:o?.framesPerSecond,loss:l>0?u/(l+u):null,codecs:[...m].filter(Boolean).join(", "),pair:r?`${wt(e.get(r.localCandidateId))}\
 \u2192 ${wt(e.get(r.remoteCandidateId))}`:""}}};function wt(n){return n?[n.protocol,n.candidateType,n.address].filter(Boolean).
join(" "):"?"}var ns=["screen","screenAudio"],te=class{tracks={screen:null,screenAudio:null};#e;#s=new MediaStream;#t={};constructor(e){
this.#e=e}owns(e){return Object.values(this.#t).includes(e)}fill(){for(let e of ns){let t=this.tracks[e],s=this.#t[e];s&&
s.sender.track!==t?(s.direction=t?"sendonly":"inactive",s.sender.replaceTrack(t).catch(i=>console.warn("a screen could n\
ot be sent",i))):!s&&t&&(this.#t[e]=this.#e.addTransceiver(t,{direction:"sendonly",streams:[this.#s]}))}}};function Pe(n){return new Promise(e=>setTimeout(e,n,void 0))}function H(n){return/^a=fingerprint:(.+?)\s*$/m.exec(n?.sdp??
"")?.[1].toLowerCase()??""}var gt=["audio","video"],rs=2500,os=1500,as=1e3,cs=1e3,hs=16384,se=class extends O{id=Math.random().toString(36).slice(2,
10);remoteId=null;stream=new MediaStream;screen=new MediaStream;#e;#s;#t;#i;#r;#n={audio:null,video:null};#o={};#a=null;#c=!1;#l=Promise.
resolve();#d=Promise.resolve();#h=1;#u;#m;#w;#p=new j;constructor({polite:e,iceServers:t=[],renewIceServers:s,outgoing:i}){
super(),this.#s=e,this.#t=i,this.#r=s,this.#e=new RTCPeerConnection({iceServers:t}),this.#i=new te(this.#e),this.#u=new Promise(
r=>this.#e.addEventListener("icecandidate",r,{once:!0})),this.#f()}get connection(){return this.#e}get state(){return this.#e.
connectionState}get alive(){return this.state==="connected"&&this.#a?.readyState!=="closed"}isStranger(e){let[t,s]=[H(this.#e.
remoteDescription),H(e)];return!!t&&!!s&&t!==s}get calling(){return this.#c&&!this.#e.currentRemoteDescription}call(){this.#c=
!0,this.#O();for(let e of gt){let t=this.#n[e];if(t){let s=this.#e.addTrack(t,this.#t);this.#o[e]=this.#e.getTransceivers().
find(i=>i.sender===s)}else this.#o[e]=this.#e.addTransceiver(e,{direction:"recvonly"})}this.#I()}receiveDescription(e){return this.#T(
()=>e.type==="offer"?this.#x(e):this.#S(e))}receiveCandidate(e){return this.#T(async()=>{let t=this.#e.remoteDescription?.
sdp.split(/\r?\n/)??[],s=e?.usernameFragment??/ ufrag (\S+)/.exec(e?.candidate??"")?.[1];!t.length||s&&!t.includes(`a=ic\
e-ufrag:${s}`)||await this.#e.addIceCandidate(e??void 0)})}async setTrack(e,t){if(e==="screen"||e==="screenAudio")return this.#i.
tracks[e]=t,this.#I();this.#n[e]=t;let s=this.#o[e];s&&await this.#C(s,t)}setVideoScale(e){this.#h=e,this.#M()}resume(e){
e&&this.#e.setConfiguration({iceServers:e}),!this.#E()&&this.#y&&this.#g()}send(e){return this.#a?.readyState!=="open"?!1:
(this.#a.send(JSON.stringify(e)),!0)}async stats(){return this.#p.read(await this.#e.getStats())}get audioLevel(){let e=this.#o.
audio?.receiver.getSynchronizationSources?.()[0];return!e||performance.timeOrigin+performance.now()-e.timestamp>1e3?0:e.
audioLevel??0}close(){clearTimeout(this.#m),clearTimeout(this.#w),this.#e.close()}#f(){let e=this.#e;e.addEventListener(
"negotiationneeded",()=>{this.#l=this.#b()}),e.addEventListener("icecandidate",({candidate:t})=>this.tell("candidate",t?.
toJSON()??null)),e.addEventListener("track",({track:t,transceiver:s})=>{let i=s===this.#k(t.kind)?this.stream:this.screen;
for(let r of i.getTracks())r.kind===t.kind&&i.removeTrack(r);i.addTrack(t);for(let r of["mute","unmute","ended"])t.addEventListener(
r,()=>this.tell("stream",this.stream));this.tell("stream",this.stream)}),e.addEventListener("connectionstatechange",()=>{
clearTimeout(this.#m),this.state==="failed"&&this.#g(),this.state==="disconnected"&&(this.#m=setTimeout(()=>this.#g(),rs)),
this.tell("state",this.state)})}get#v(){return this.#e.signalingState==="closed"}get#y(){return this.state==="failed"||this.
state==="disconnected"}async#g(){let e=this.#e;if(clearTimeout(this.#m),this.#r&&e.getConfiguration().iceServers?.some(({
credential:t})=>t)){let t=await Promise.race([this.#r().catch(()=>{}),Pe(cs)]);if(!this.#y)return;t&&e.setConfiguration(
{iceServers:t})}e.restartIce()}#E(){let{signalingState:e,localDescription:t}=this.#e,s=e==="have-local-offer"&&!!t;return s&&
this.tell("description",t),s}async#b(){let e=this.#e;try{await e.setLocalDescription(),e.localDescription?.type==="offer"&&
this.tell("description",e.localDescription)}catch(t){this.#v||console.warn("negotiation failed",t)}}async#x(e){let t=this.#e;
if(await this.#l,t.signalingState==="have-local-offer"){if(!(this.#s??H(t.localDescription)<H(e))){clearTimeout(this.#w),
this.#w=setTimeout(()=>this.#E(),os);return}if(await Promise.race([this.#u,Pe(as)]),this.#v)return}await t.setRemoteDescription(
e),e.sdp?.includes("m=application")&&this.#O(),this.#L(),await t.setLocalDescription(),t.localDescription&&this.tell("de\
scription",t.localDescription),this.#I(),this.#M()}async#S(e){this.#e.signalingState==="have-local-offer"&&(await this.#e.
setRemoteDescription(e),this.#M())}#T(e){let t=this.#d.then(()=>{if(!this.#v)return e()});return this.#d=t.catch(()=>{}),
t}#O(){this.#a||(this.#a=this.#e.createDataChannel("parlor",{negotiated:!0,id:0}),this.#a.addEventListener("open",()=>this.
tell("open",void 0)),this.#a.addEventListener("close",()=>this.tell("closed",void 0)),this.#a.addEventListener("message",
({data:e})=>{if(!(typeof e!="string"||e.length>hs))try{this.tell("message",JSON.parse(e))}catch{}}))}#L(){for(let e of this.#e.
getTransceivers())e.mid===null&&!this.#i.owns(e)&&e.stop();for(let e of gt){if(this.#o[e]?.mid)continue;let t=this.#k(e);
this.#o[e]=t,t&&this.#C(t,this.#n[e])}}#k(e){return this.#e.getTransceivers().find(t=>t.mid!==null&&t.receiver.track.kind===
e)}#I(){(this.#c||this.#e.currentRemoteDescription)&&this.#i.fill()}async#C(e,t){t&&!e.direction.startsWith("send")&&(e.
sender.setStreams?.(this.#t),e.direction="sendrecv"),await e.sender.replaceTrack(t),this.#M()}#M(){let e=this.#o.video?.
sender,t=e?.getParameters();!e||!t?.encodings?.length||(t.encodings[0].scaleResolutionDownBy??1)===this.#h||(t.encodings[0].
scaleResolutionDownBy=this.#h,e.setParameters(t).catch(()=>{}))}};var L=Object.freeze({audio:null,video:null,screen:null,screenAudio:null}),ls=1500,ds=new Set(["OFFLINE","TARGET_NOT_FOUN\
D","ROOM_CLOSED","HUNG_UP"]),W=class extends O{#e;#s;#t=new Map;#i;#r=new MediaStream;#n=L;#o={audio:!1,video:!1,screen:!1};#a;#c;#l=new Set;#d=new AbortController;constructor({
signaling:e,name:t,iceServers:s,present:i}){super(),this.#e=e,this.#s=t,this.#c=s,this.#h(),i&&queueMicrotask(()=>this.#u(
i))}get members(){return new Map([...this.#t].filter(([,e])=>!e.expected))}send(e,t={}){this.#n={...L,...e};let{audio:s,
video:i,screen:r}=this.#n;this.#o={audio:!!s,video:!!i,screen:!!r,...t};for(let{peer:o}of this.#t.values())o&&(this.#T(o),
o.send({type:"sends",...this.#o}))}chat(e){return[...this.members.values()].filter(({peer:t})=>t?.send({type:"chat",text:e})).
length}close(){this.#d.abort();for(let e of this.#t.values())e.peer?.close();this.#t.clear()}#h(){let e=(t,s)=>this.#e.addEventListener(
t,({detail:i})=>s(i),{signal:this.#d.signal});e("room-users",t=>this.#u(t)),e("online",({recovered:t})=>{if(t)for(let{peer:s}of this.#t.
values())s?.resume()}),e("user-joined",t=>this.#m(t).peer?.resume()),e("user-back",t=>this.#m(t).peer?.resume()),e("user\
-away",({userId:t})=>this.#p(t,{away:!0})),e("user-left",({userId:t,reason:s})=>{let i=this.#t.get(t);i&&this.#v(i,s??"d\
isconnected")}),e("offer",({from:t,user:s,offer:i,link:r})=>this.#E(s?this.#m(s):this.#t.get(t),i,r)),e("answer",({from:t,
answer:s,link:i})=>this.#b(t,i,(r,o)=>!i&&r.isStranger(s)?this.#g(o).call():r.receiveDescription(s))),e("ice-candidate",
({from:t,candidate:s,link:i})=>this.#b(t,i,r=>r.receiveCandidate(s)))}#u({users:e,iceServers:t,userId:s}){if(this.#d.signal.
aborted)return;this.#a=this.#c??t;let i=!!this.#i&&this.#i!==s;this.#i=s;let r=new Set(e.map(o=>o.userId));for(let o of this.#t.
values())r.has(o.id)||this.#v(o,"timeout");for(let o of e){let c=this.#m(o);c.peer&&!i?c.peer.resume(this.#a):!o.calling&&
!c.elsewhere&&this.#g(c).call()}}#m(e){let t=this.#t.get(e.userId),s=T(e.name);if(t)return e.expected||this.#w(t),t.elsewhere||=
e.media==="sfu",t.elsewhere&&(t.peer=t.peer?.close()??null),this.#p(e.userId,{away:!1,listed:!0,...s&&{name:s}}),t;let i=!!e.
anonymous,r={id:e.userId,name:s||(i?"Guest":`Guest ${e.userId.slice(-4)}`),peer:null,away:!1,listed:!0,sends:null,unnamed:!s,
anonymous:i,elsewhere:e.media==="sfu",expected:!!e.expected};return this.#t.set(r.id,r),r.expected||this.tell("joined",r),
this.#O(),r}#w(e){e.expected&&(e.expected=!1,this.tell("joined",e))}#p(e,t){let s=this.#t.get(e);s&&(Object.assign(s,t),
this.#f(s))}#f(e){e.expected||this.tell("changed",e)}#v(e,t){!(t==="left"||t==="kicked"||t==="closed")&&e.peer?.alive?this.#p(
e.id,{away:!0,listed:!1}):this.#y(e,t)}#y(e,t){this.#t.get(e.id)===e&&(this.#t.delete(e.id),e.peer?.close(),e.expected||
this.tell("left",{...e,reason:t}),this.#O())}#g(e){e.peer?.close();let t=new se({iceServers:this.#a,renewIceServers:this.#c?
void 0:()=>this.#e.iceServers(),outgoing:this.#r});e.peer=t,e.sends=null,this.#T(t),this.#O();let s=()=>e.peer===t&&this.#t.
get(e.id)===e,i=(o,c)=>t.addEventListener(o,({detail:h})=>s()&&c(h)),r=()=>({link:{from:t.id,to:t.remoteId}});return i("\
description",o=>{(o.type==="offer"?this.#e.offer(e.id,o.toJSON(),r()):this.#e.answer(e.id,o.toJSON(),r())).catch(h=>this.#S(
t,h))}),i("candidate",o=>{this.#e.candidate(e.id,o,r()).catch(c=>this.#S(t,c))}),i("state",o=>{!e.listed&&(o==="failed"||
o==="disconnected")?this.#y(e,"timeout"):this.#f(e)}),i("closed",()=>{(e.away||e.anonymous)&&this.#y(e,"left")}),i("stre\
am",()=>this.tell("stream",e)),i("open",()=>{this.#s&&t.send({type:"name",name:this.#s}),t.send({type:"sends",...this.#o})}),
i("message",o=>this.#x(e,o)),t}async#E(e,t,s){if(!e)return;this.#w(e);let{peer:i}=e;if(s?.to&&s.to!==i?.id){i?.calling||
this.#g(e).call();return}let o=!i||(s?i.remoteId&&i.remoteId!==s.from:i.isStranger(t))?this.#g(e):i;o.remoteId=s?.from??
null;try{await o.receiveDescription(t)}catch(c){console.warn("an offer could not be taken",c)}}async#b(e,t,s){let i=this.#t.
get(e),r=i?.peer;if(r&&!(t&&(t.to?t.to!==r.id:t.from!==r.remoteId))){t&&(r.remoteId=t.from),this.#w(i);try{await s(r,i)}catch(o){
console.warn("a signal could not be taken",o)}}}#x(e,t){if(t?.type==="chat"&&typeof t.text=="string")this.tell("chat",{member:e,
text:t.text});else if(t?.type==="name"&&typeof t.name=="string"){let s=T(t.name);e.unnamed&&s&&this.#p(e.id,{name:s})}else if(t?.
type==="sends"){let{audio:s,video:i,screen:r}=t;this.#p(e.id,{sends:{audio:!!s,video:!!i,screen:!!r}})}}#S(e,t){ds.has(t.
code)||this.#l.has(e)||(console.warn("a signal was refused",t.code,t.message),this.#l.add(e),setTimeout(()=>{this.#l.delete(
e),e.state!=="closed"&&e.resume()},t.retryAfterMs??ls))}#T(e){for(let t of["audio","video","screen","screenAudio"])e.setTrack(
t,this.#n[t]).catch(s=>console.warn("a track could not be sent",s))}#O(){let e=this.#t.size,t=e<2?1:e<4?2:3;for(let{peer:s}of this.#t.
values())s?.setVideoScale(t)}};var vt=2e4,us=960*540,ms=480*270,fs=[{rid:"r0",scaleResolutionDownBy:4,maxBitrate:15e4},{rid:"r1",scaleResolutionDownBy:2,
maxBitrate:5e5},{rid:"r2",scaleResolutionDownBy:1,maxBitrate:15e5}],ps=[{maxBitrate:25e5}],ie=class extends O{#e;#s;#t=null;#i=null;#r=null;#n={};#o={
...L,sends:{audio:!1,video:!1,screen:!1}};#a=Promise.resolve();#c=new Map;#l=!1;constructor({ask:e,device:t}){super(),this.#e=
e,this.#s=t}get state(){return this.#r?.connectionState??"new"}get isOpen(){return!!this.#r&&!this.#l}async open(){let e=await this.#s;
this.#t=e;let{rtpCapabilities:t}=await this.#e("router:capabilities");await e.load({routerRtpCapabilities:t});let s=["se\
nd","recv"].map(c=>this.#e("transport:create",{direction:c})),i=await Promise.allSettled(s);if(this.#l||i.some(({status:c})=>c===
"rejected"))for(let c of i)c.status==="fulfilled"&&this.#d(c.value.id);if(this.#l)return;let[r,o]=await Promise.all(s);this.#i=
this.#h(e.createSendTransport(r)),this.#r=this.#h(e.createRecvTransport(o)),this.#i.on("produce",({kind:c,rtpParameters:h,
appData:d},l,u)=>{this.#e("produce",{transportId:r.id,kind:c,rtpParameters:h,appData:d}).then(l,u)}),this.#r.on("connect\
ionstatechange",c=>this.tell("state",c))}send(e){this.#o=e,this.#a=this.#a.then(()=>this.#u()).catch(t=>!this.#l&&this.tell(
"failed",t))}async consume(e,t){if(!this.#r||!this.#t)throw new Error("open it first");let s=this.#t.recvRtpCapabilities,
i=await this.#e("consume",{transportId:this.#r.id,producerId:e,rtpCapabilities:s});return this.#r.consume({...i,streamId:t??
i.userId})}dismiss(e){e.close(),this.#l||this.#e("consumer:close",{consumerId:e.id}).catch(()=>{})}async restart(e){let t=[
this.#i,this.#r].find(i=>i?.id===e);if(!t||this.#l)return;let s=this.#c.get(e)??-1/0;if(!(performance.now()-s<vt/4)){if(performance.
now()-s<vt)return this.#f();this.#c.set(e,performance.now());try{let{iceParameters:i}=await this.#e("transport:restart-i\
ce",{transportId:e});await t.restartIce({iceParameters:i})}catch{this.#f()}}}close(){if(!this.#l){this.#l=!0;for(let e of[
this.#i,this.#r])e?.close(),e&&this.#d(e.id)}}#d(e){this.#e("transport:close",{transportId:e}).catch(()=>{})}#h(e){return e.
on("connect",({dtlsParameters:t},s,i)=>{this.#e("transport:connect",{transportId:e.id,dtlsParameters:t}).then(s,i)}),e.on(
"connectionstatechange",t=>t==="failed"&&this.restart(e.id)),e}async#u(){await this.#m();let{video:e}=this.#o,t=e?ws(e):
[];await this.#w("video",{encodings:t,appData:{source:"camera",layers:t.length}}),await this.#w("screen",{encodings:ps,appData:{
source:"screen"}}),await this.#w("screenAudio",{appData:{source:"screen-audio"}})}async#m(){let{sends:e}=this.#o,t=await this.#w(
"audio",{appData:{source:"microphone"}});!t||t.paused===!e.audio||(await this.#e(e.audio?"producer:resume":"producer:pau\
se",{producerId:t.id}),e.audio?t.resume():t.pause())}async#w(e,t){let s=this.#o[e],i=this.#n[e];if(s)return i?(i.track!==
s&&await i.replaceTrack({track:s}),i):this.#n[e]=await this.#p({track:s,...t});if(!i)return;delete this.#n[e],await this.#e(
"producer:close",{producerId:i.id}),i.close()}async#p(e){return this.#i?.produce({...e,stopTracks:!1,disableTrackOnPause:!1})}#f(){
this.#l||this.tell("broken",void 0)}};function ws(n){let{width:e=0,height:t=0}=n.getSettings(),s=e*t>=us?3:e*t>=ms?2:1;return fs.
slice(-s)}var ne=class{stream=new MediaStream;screen=new MediaStream;layers=null;#e=new Map;#s=new j;#t;constructor(e){this.#t=e}get state(){
let e=this.#t();return e==="new"&&!this.#e.size?"connected":e}consumer(e){return this.#e.get(e)}add(e,t,s){this.remove(e),
this.#e.set(e,t),this.#i(e).addTrack(t.track),e==="video"&&(this.layers={count:s,current:null,wanted:s-1})}remove(e){let t=this.#e.
get(e);t&&(this.#e.delete(e),this.#i(e).removeTrack(t.track),t.close(),e==="video"&&(this.layers=null))}clear(){for(let e of[
...this.#e.keys()])this.remove(e)}async getStats(){let e=await Promise.all([...this.#e.values()].map(s=>s.getStats()));return new Map(
e.flatMap(s=>[...s]))}async stats(){let e=this.#s.read(await this.getStats());return{...e,path:e.path&&"forwarded"}}get audioLevel(){
return this.#e.get("audio")?.rtpReceiver?.getSynchronizationSources?.()[0]?.audioLevel??0}#i(e){return e==="screen"||e===
"screenAudio"?this.screen:this.stream}};var yt=1e3,gs=5,vs=new Set(["router:capabilities","producers:list","producer:pause","producer:resume","producer:close","\
consumer:resume","consumer:layers","consumer:close","transport:restart-ice","transport:close"]),Y=class extends O{#e;#s;#t=new Map;#i=new Map;#r=null;#n={
...L,sends:{audio:!1,video:!1,screen:!1}};#o=[];#a;#c=-1/0;#l=new AbortController;constructor({signaling:e,Device:t,loadDevice:s,
present:i}){super(),this.#e=e,this.#s=s??(()=>t),this.#d(),i&&queueMicrotask(()=>this.#h(i))}get members(){return new Map(
this.#t)}send(e,t={}){let{audio:s,video:i,screen:r}=e;this.#n={...L,...e,sends:{audio:!!s,video:!!i,screen:!!r,...t}},this.#r?.
send(this.#n)}async preferLayer(e,t){let s=this.#t.get(e),i=s?.peer?.consumer("video");!s?.peer?.layers||!i||(s.peer.layers.
wanted=t,await this.#I("consumer:layers",{consumerId:i.id,spatialLayer:t}),this.tell("changed",s))}close(){this.#l.abort(),
clearTimeout(this.#a),this.#r?.close(),this.#r=null,this.#t.clear(),this.#o=[]}#d(){let e=(t,s)=>this.#e.addEventListener(
t,({detail:i})=>s(i),{signal:this.#l.signal});e("room-users",t=>this.#h(t)),e("online",()=>this.#C()),e("user-joined",t=>this.#x(
t)),e("user-updated",t=>this.#t.has(t.userId)&&this.#x(t)),e("user-back",({userId:t})=>this.#T(t,{away:!1})),e("user-awa\
y",({userId:t})=>this.#T(t,{away:!0})),e("user-left",({userId:t,reason:s})=>{let i=this.#t.get(t);i&&this.#O(i,s??"disco\
nnected")}),e("message",({type:t,payload:s})=>this.#u(t,s))}#h({users:e}){if(this.#l.signal.aborted)return;let t=new Set(
e.map(s=>s.userId));for(let s of[...this.#t.values()])t.has(s.id)||this.#O(s,"timeout");for(let s of e)this.#x(s);this.#C(),
this.#m()}#u(e,t){switch(e){case"new:producer":return this.#f(t);case"producer:paused":case"producer:resumed":return this.#y(
t.producerId,e==="producer:paused");case"producer:closed":return this.#g(t.producerId);case"consumer:closed":return this.#g(
this.#v(t.consumerId)?.producerId);case"consumer:layers-changed":return this.#E(this.#v(t.consumerId),t.spatialLayer);case"\
room:active-speaker":return this.tell("speaker",{id:t.userId,level:t.level});case"transport:failed":return this.#r?.restart(
t.transportId);case"transport:created":return this.#I("transport:close",{transportId:t.id}).catch(()=>{})}}async#m(){clearTimeout(
this.#a),this.#a=void 0,this.#c=performance.now(),this.#r?.close(),this.#i.clear();for(let{peer:s}of this.#t.values())s?.
clear();let e=new ie({ask:(s,i)=>this.#I(s,i),device:this.#w()});this.#r=e;let t=()=>this.#r===e;e.addEventListener("sta\
te",()=>{if(t())for(let s of this.#t.values())this.tell("changed",s)}),e.addEventListener("broken",()=>t()&&this.#p()),e.
addEventListener("failed",({detail:s})=>t()&&this.#k(s));try{if(await e.open(),!t())return;e.send(this.#n);let{producers:s}=await this.#I(
"producers:list");if(t())for(let i of s)this.#f(i)}catch(s){t()&&this.#L(s)}}async#w(){let e=await this.#s();if(!e)throw new TypeError(
"Device or loadDevice is required");return new e}#p(){this.#a===void 0&&(this.#a=setTimeout(()=>this.#m(),Math.max(0,this.#c+
yt-performance.now())))}async#f(e){let{producerId:t,userId:s,appData:i}=e,r=re(e),o=this.#r;if(!o?.isOpen||this.#i.has(t))
return;this.#i.set(t,e),this.#b(s);let c=()=>this.#r===o&&this.#i.get(t)===e;try{let h=await o.consume(t,r.startsWith("s\
creen")?`${s}-screen`:s),d=this.#t.get(s);if(!c()||!d?.peer)return o.dismiss(h);let l=d.peer.consumer(r);l&&o.dismiss(l);
let u=Number.isInteger(i?.layers)?Math.min(Math.max(i.layers,1),4):1;d.peer.add(r,h,u);for(let m of["mute","unmute"])h.track.
addEventListener(m,()=>c()&&this.tell("stream",d));this.tell("stream",d),await this.#I("consumer:resume",{consumerId:h.id})}catch(h){
c()&&this.#k(h)}}#v(e){return[...this.#i.values()].find(t=>this.#t.get(t.userId)?.peer?.consumer(re(t))?.id===e)}#y(e,t){
let s=this.#i.get(e);s&&(s.paused=t,this.#b(s.userId))}#g(e){let t=this.#i.get(e??"");if(!t)return;this.#i.delete(t.producerId);
let s=this.#t.get(t.userId),i=re(t);s?.peer?.consumer(i)?.producerId===t.producerId&&s.peer.remove(i),this.#b(t.userId)}#E(e,t){
let s=e&&this.#t.get(e.userId);s?.peer?.layers&&(s.peer.layers.current=t,this.tell("changed",s))}#b(e){let t=[...this.#i.
values()].filter(i=>i.userId===e&&!i.paused).map(re),s={audio:t.includes("audio"),video:t.includes("video"),screen:t.includes(
"screen")};this.#T(e,{sends:s})}#x(e){let t=T(e.name),s=!!e.media,i=this.#t.get(e.userId);if(i)return i.elsewhere===s&&(i.
peer=this.#S(s)),this.#T(i.id,{away:!1,elsewhere:!s,...t&&{name:t}});let r={id:e.userId,name:t||`Guest ${e.userId.slice(
-4)}`,elsewhere:!s,peer:this.#S(s),away:!1,sends:s?{audio:!1,video:!1,screen:!1}:null};this.#t.set(r.id,r),this.tell("jo\
ined",r)}#S(e){return e?new ne(()=>this.#r?.state??"new"):null}#T(e,t){let s=this.#t.get(e);s&&(Object.assign(s,t),this.
tell("changed",s))}#O(e,t){this.#t.delete(e.id);for(let s of[...this.#i.values()])s.userId===e.id&&this.#i.delete(s.producerId);
e.peer?.clear(),this.tell("left",{...e,reason:t})}#L(e){e.code==="TRANSPORT_ERROR"&&e.retryAfterMs||e.code==="OFFLINE"||
e.code==="TIMEOUT"?this.#p():this.tell("failed",e)}#k(e){e.code==="TRANSPORT_ERROR"?this.#p():this.#L(e)}async#I(e,t){for(let s=1;;s++){
for(;!this.#e.online;)await new Promise(i=>this.#o.push(()=>i(void 0)));try{return await this.#e.ask(e,t)}catch(i){let r=i,
o=r.code==="OFFLINE"&&vs.has(e)?0:r.code==="RATE_LIMITED"?r.retryAfterMs??yt:null;if(o===null||s===gs)throw r;await new Promise(
c=>setTimeout(c,o*(1+Math.random())))}}}#C(){for(let e of this.#o.splice(0))e()}};function re({kind:n,appData:e}){return e?.
source==="screen"&&n==="video"?"screen":e?.source==="screen-audio"&&n==="audio"?"screenAudio":n}var ae=5,St="media-mode",ys=5e3,Ss=2e4,Es=400,bs=new Set(["TRANSPORT_ERROR","NO_BUNDLE"]),oe=class extends O{#e;#s;#t;#i=null;#r=null;#n=null;#o;#a=new Map;#c=new Set;#l={
users:[]};#d=L;#h={};#u=new Set;#m=new Set;#w=new AbortController;constructor(e){super(),this.#s=e,this.#e=e.signaling,this.#t=
e.loadDevice,this.#o=!!e.wanted,this.#p()}get mode(){return this.#n}get canUseSfu(){return!!this.#t}get meshOnly(){return[
...this.#a.values()].filter(({media:e})=>!e)}get members(){let e=this.#i?.members??new Map;for(let t of e.keys()){let s=this.#r?.
members.get(t);s&&!this.#m.has(t)&&e.set(t,s)}return e}send(e,t={}){this.#d={...L,...e},this.#h=t;for(let s of[this.#i,this.#r])
s?.send(e,t)}async ask(e){this.#f?await this.#e.message(St,{mode:e}):this.#g(e)}chat(e){return this.#i instanceof W?this.#i.
chat(e):0}async preferLayer(e,t){this.#i instanceof Y&&await this.#i.preferLayer(e,t)}close(){this.#w.abort(),this.#r?.close(),
this.#i?.close(),this.#r=this.#i=null,this.#a.clear()}#p(){let e=(t,s)=>this.#e.addEventListener(t,({detail:i})=>s(i),{signal:this.#w.
signal});e("room-users",t=>{this.#l=t,this.#a=new Map(t.users.map(s=>[s.userId,s])),this.#c=new Set(this.#a.keys()),this.#y()}),
e("user-joined",t=>{this.#c.delete(t.userId),this.#a.delete(t.userId),this.#a.set(t.userId,t),this.#y()}),e("user-left",
({userId:t})=>{this.#c.delete(t),this.#a.delete(t),this.#y()}),e("user-updated",t=>{this.#a.set(t.userId,t),this.#y()}),
e("online",({recovered:t})=>{t&&this.canUseSfu&&!this.#f&&this.#b({mode:this.#n,asked:this.#o})}),e("application",({topic:t,
data:s})=>{let i=s?.mode;t===St&&(i==="mesh"||i==="sfu")&&!this.#f&&this.canUseSfu&&this.#g(i)})}get#f(){return[...this.#a.
values()].find(({userId:e,media:t})=>t==="auto"&&this.#c.has(e))}get#v(){return this.#a.size+1>=ae&&!this.meshOnly.length?
"sfu":"mesh"}#y(){if(!this.canUseSfu)return this.#S("mesh");let e=this.#f;if(e?.mode)this.#o=!!e.asked,this.#S(e.mode);else if(e)
this.#n||this.#S(this.#v);else if(!this.#n&&this.#s.wanted&&!this.meshOnly.length)this.#g(this.#s.wanted);else{this.#o&&=
!!this.#n;let t=this.#n==="sfu"||this.#o;this.#E(t&&this.#n?this.#n:this.#v)}}#g(e){this.#o=!0,this.#E(e)}#E(e){let t=this.#x.
metadata;(t?.mode!==e||t.asked!==this.#o)&&this.#b({mode:e,asked:this.#o}),this.#S(e)}#b(e){this.#x.update(e).catch(()=>{})}get#x(){
return this.#e}#S(e){if(e===this.#n)return;this.#I(),this.#n=e,this.#r=this.#i;let t=d=>this.#c.has(d.userId)||!d.media,
s=[...this.#a.values()].map(d=>t(d)?d:{...d,calling:!0}),i={...this.#l,users:s},{signaling:r,name:o,iceServers:c}=this.#s,
h=e==="sfu"&&this.#t?new Y({signaling:this.#x,loadDevice:this.#t,present:i}):new W({signaling:r,name:o,iceServers:c,present:i});
this.#i=h,this.#T(h),h.send(this.#d,this.#h),this.#r&&this.#k(),this.tell("mode",e)}#T(e){let t=()=>this.#i===e,s=(i,r)=>EventTarget.
prototype.addEventListener.call(e,i,o=>r(o.detail));for(let i of["joined","changed","stream"])s(i,({id:r})=>this.#O(i,r));
s("left",i=>{t()&&this.#u.delete(i.id)&&this.tell("left",i)}),s("chat",i=>t()&&this.tell("chat",i)),s("speaker",i=>t()&&
this.tell("speaker",i)),s("failed",i=>t()&&this.#L(i))}#O(e,t){let s=this.members.get(t);if(!s)return;let i=!this.#u.has(
t);this.#u.add(t),this.tell(i?"joined":e==="joined"?"changed":e,s)}#L(e){this.tell("failed",e),bs.has(e.code)&&(this.#t=
void 0,this.#b({media:null,mode:null}),this.#S("mesh"))}async#k(){let e=this.#r;this.#m.clear();let t=performance.now(),
s=1/0,i=()=>this.#r!==e||!e;for(;!i();){await new Promise(h=>setTimeout(h,Es));let r=this.#i?.members??new Map;for(let[h,
d]of r){let l=e?.members.get(h),u=!this.#m.has(h)&&(!l||await Ts(d,l).catch(()=>!1));if(i())return;u&&(this.#m.add(h),this.#O(
"changed",h))}let o=performance.now();s=[...r.keys()].every(h=>this.#m.has(h))?Math.min(s,o):1/0,(o-s>ys||o-t>Ss)&&this.#I()}}#I(){
let e=this.#r;if(this.#r=null,!e)return;let t=e.members;e.close();for(let s of this.members.keys())this.#O("changed",s);
for(let[s,i]of t)!this.#i?.members.has(s)&&this.#u.delete(s)&&this.tell("left",{...i,reason:"timeout"})}};async function Ts(n,e){
if(e.peer?.state!=="connected")return!0;if(n.peer?.state!=="connected")return!1;let[t,s]=await Promise.all([Et(n.peer),Et(
e.peer)]),{audio:i,video:r,screen:o}=e.sends??{audio:!0,video:!0,screen:!1},c={audio:Math.min(s.audio,Number(i)),video:Math.
min(s.video,Number(r)+Number(o))};return t.audio>=c.audio&&t.video>=c.video}async function Et(n){let t=[...(await("conne\
ction"in n?n.connection:n).getStats()).values()].filter(({type:s})=>s==="inbound-rtp");return{audio:t.filter(({kind:s,packetsReceived:i})=>s===
"audio"&&i>0).length,video:t.filter(({kind:s,framesDecoded:i})=>s==="video"&&i>0).length}}var F=[{id:"auto",name:"Automatic",description:`From browser to browser for up to ${ae-1} people, through the server for\
 more.`},{id:"mesh",name:"Mesh",description:"From browser to browser. Best for two to four."},{id:"sfu",name:"SFU",description:"\
Everyone sends one copy, to the server. Best for five or more."}];function ce(n){return F.find(e=>e.id===n)}async function Tt(){
try{return(await import("./vendor/mediasoup-client.js")).default.Device}catch(n){throw Object.assign(new Error("mediasou\
p-client is not available",{cause:n}),{code:"NO_BUNDLE"})}}async function It(n,e,t){try{let s=e?{authorization:`Bearer ${e}`}:
void 0,i=await fetch(`/demo/lobby?room=${encodeURIComponent(n)}`,{headers:s,signal:t});return i.ok?await i.json():null}catch{
return null}}function xt({names:n,count:e}){if(!e)return"";let t=s=>s===1?"1 other":`${s} others`;return n.length?e===1?
`${n[0]} is here.`:e===2&&n.length===2?`${n[0]} and ${n[1]} are here.`:`${n[0]} and ${t(e-1)} are here.`:e===1?"1 person\
 is here.":`${e} people are here.`}function Ot(n){let e=[...n.members.values()],t=e.filter(s=>s.elsewhere);if(t.length){
let s=t.length>1?"use":"uses";return n.mode==="mesh"?{text:`${bt(t)} ${s} the media server, which this page cannot: you \
cannot see or hear each other.`}:{text:`${bt(t)} can use a mesh only: you cannot see or hear each other.`,mode:"mesh"}}if(n.
mode==="mesh"&&e.length+1>=ae){let s=`You are ${e.length+1}, and each of you sends ${e.length} copies`;if(!n.canUseSfu)return{
text:`${s}. With the media server it would be one copy, but this page cannot use it.`};let[i]=n.meshOnly;return i?{text:`${s}\
: the call stays a mesh, because ${i.name??"another person"} can use nothing else.`}:{text:`${s}. With the media server \
it is one copy.`,mode:"sfu"}}return null}function bt(n){let e=n.length-1;return e?`${n[0].name} and ${e===1?"one other":
`${e} others`}`:n[0].name}function kt(n){return n==="sfu"?"Can use a mesh only: no media between you":"Uses the media se\
rver: no media between you"}var Ue=["people","chat"],he=class extends EventTarget{#e="people";#s=null;#t=new AbortController;constructor(){super();let e={
signal:this.#t.signal};for(let t of Ue)a(`tab-${t}`).addEventListener("click",()=>this.open(t),e);a("panel-close").addEventListener(
"click",()=>this.close(),e),a("panel").querySelector("[role=tablist]").addEventListener("keydown",({key:t})=>{if(t!=="Ar\
rowLeft"&&t!=="ArrowRight")return;let s=Ue.find(i=>i!==this.#e);this.open(s),a(`tab-${s}`).focus()},e)}get shown(){return a(
"panel").hidden?"":this.#e}toggle(e){this.shown===e?this.close():(this.#s=document.activeElement,this.open(e),e==="chat"&&
matchMedia("(hover: hover)").matches&&a("chat-text").focus())}open(e){this.#e=e,a("panel").hidden=!1;for(let t of Ue)a(t).
hidden=t!==e,a(`tab-${t}`).setAttribute("aria-selected",String(t===e)),a(`tab-${t}`).tabIndex=t===e?0:-1;this.dispatchEvent(
new Event("change"))}close(){if(a("panel").hidden)return;let e=a("panel").contains(document.activeElement);a("panel").hidden=
!0,e&&(this.#s?.isConnected?this.#s:a(`tool-${this.#e}`)).focus(),this.dispatchEvent(new Event("change"))}dispose(){this.#t.
abort(),a("panel").hidden=!0}};var je=60,Is=120,le=28,de=class{element=k("plot-template");#e=[];#s;#t;#i;constructor({label:e,kind:t,format:s,floor:i}){
this.#s=e,this.#t=s,this.#i=i,this.element.classList.add(`plot-${t}`),this.element.querySelector(".plot-label").textContent=
e,this.push(null)}push(e){this.#e.push(e),this.#e.length>je&&this.#e.shift();let t=e===null?"\u2013":this.#t(e);this.element.
querySelector(".plot-value").textContent=t,this.element.querySelector("svg").setAttribute("aria-label",`${this.#s} ${t}`),
this.#r()}#r(){let e=Math.max(this.#i,...this.#e.map(o=>o??0))*1.15,t=je-this.#e.length,s="",i="",r=null;this.#e.forEach(
(o,c)=>{let h=Lt((c+t)/(je-1)*Is);if(o!==null){let l=Lt(le-1-o/e*(le-2));s+=`${r===null?"M":"L"}${h} ${l}`,i+=r===null?`\
M${h} ${le}L${h} ${l}`:`L${h} ${l}`,r??=h}(o===null||c===this.#e.length-1)&&r!==null&&(i+=`V${le}Z`,r=null)}),this.element.
querySelector(".plot-line").setAttribute("d",s),this.element.querySelector(".plot-area").setAttribute("d",i)}},Lt=n=>Math.
round(n*10)/10;var xs={new:"Connecting\u2026",connecting:"Connecting\u2026",connected:"Connected",disconnected:"Connection lost, trying\
 again\u2026",failed:"Connection failed, trying again\u2026",closed:"Left"},Os={bitrate:{label:"Bitrate",format:ks,floor:1e5},
loss:{label:"Loss",format:n=>`${n.toFixed(1)} %`,floor:2},"round-trip":{label:"Round trip",format:Ls,floor:20}};function Fe(n,e){
if(n.elsewhere)return kt(e);let t=xs[n.peer?.state??"new"];return n.away&&n.peer?.state==="connected"?"Reconnecting\u2026":
t}var ue=class{#e=new Map;showSelf({id:e,name:t,microphone:s,camera:i,screen:r,hand:o}){let{row:c}=this.#s(e,!1);this.#t(
c,{id:e,name:t,role:" (you)",state:""}),At(c,{audio:s,video:i,screen:r},o),this.#i()}show(e,{mode:t,hand:s}){let{row:i}=this.#s(
e.id,!0);i.querySelector(".person-state").dataset.state=e.away||e.elsewhere?"away":e.peer?.state??"new",this.#t(i,{id:e.
id,name:e.name,role:"",state:Fe(e,t)}),At(i,e.sends,s),this.#i()}measure(e,t){let s=this.#e.get(e.id);if(!s)return;let i=e.
peer?.state==="connected",{plots:r,row:o}=s,c=(h,d=1)=>i&&h!==null?h*d:null;if(r.bitrate.push(c(t.bitrateIn+t.bitrateOut)),
r.loss.push(c(t.loss,100)),r["round-trip"].push(c(t.roundTripTime,1e3)),o.querySelector(".person-details").textContent=[
t.codecs,t.pair].filter(Boolean).join(" \xB7 "),i&&!e.away){let h=t.framesPerSecond?`${t.width}\xD7${t.height}, ${Math.round(
t.framesPerSecond)} fps`:"",d=[t.path&&`Connected, ${t.path}`,h].filter(Boolean);o.querySelector(".person-state").textContent=
d.join(" \xB7 ")||"Connected"}}remove(e){this.#e.get(e)?.row.remove(),this.#e.delete(e),this.#i()}clear(){for(let e of[...this.#e.
keys()])this.remove(e)}#s(e,t){let s=this.#e.get(e);if(s)return s;let i=Object.fromEntries(Object.entries(Os).map(([r,o])=>[
r,new de({kind:r,...o})]));return s={row:k("person-template"),plots:i},s.row.dataset.userId=e,t&&s.row.querySelector(".p\
lots").append(...Object.values(i).map(({element:r})=>r)),this.#e.set(e,s),a("people-list").append(s.row),s}#t(e,{id:t,name:s,
role:i,state:r}){e.querySelector("bdi").textContent=s,e.querySelector(".person-role").textContent=i,e.querySelector(".pe\
rson-state").textContent=r,Z(e.querySelector(".face"),t,s)}#i(){a("people-count").textContent=String(this.#e.size)}};function At(n,e,t){
let s=[[t,"hand","raises a hand"],[e?.screen,"screen","shares a screen"],[e&&!e.audio,"mic-off","muted"],[e&&!e.video,"c\
amera-off","camera off"]];n.querySelector(".person-sends").replaceChildren(...s.filter(([i])=>i).map(([,i,r])=>{let o=G(
i);return o.removeAttribute("aria-hidden"),o.setAttribute("role","img"),o.setAttribute("aria-label",r),o}))}function ks(n){
return n>=1e6?`${(n/1e6).toFixed(1)} Mbit/s`:`${Math.round(n/1e3)} kbit/s`}function Ls(n){return n<10?`${n.toFixed(1)} m\
s`:`${Math.round(n)} ms`}var As={video:"No camera",audio:"No microphone",speaker:"The system\u2019s loudspeaker"};async function V(n,e){let t=!1;
for(let[s,i]of Object.entries(e)){let o=(await n.devices(s)).map(({id:c,label:h,chosen:d})=>new Option(h,c,d,d));a(i).replaceChildren(
...o.length?o:[new Option(As[s],"")]),a(i).disabled=!o.length,t||=o.length>0}return t}var Ge="parlor.shortcuts",Be="parlor.pushToTalk",qe={video:"settings-camera",audio:"settings-microphone",speaker:"settin\
gs-speaker"},He=()=>I("local",Ge)!=="off",fe=()=>I("local",Be)==="on",me=class{#e=a("settings");constructor({media:e,call:t,
signal:s}){let i=(r,o,c)=>a(r).addEventListener(o,c,{signal:s});for(let[r,o]of Object.entries(qe))i(o,"change",({target:c})=>e.
choose(r,c.value));i("menu-settings","click",()=>this.#s(e,t)),i("settings-close","click",()=>this.close()),i("settings-\
mode","change",({target:r})=>t.ask(r.value).catch(()=>{})),i("settings-shortcuts","change",({target:r})=>{r.checked?_("l\
ocal",Ge):x("local",Ge,"off")}),i("settings-talk","change",({target:r})=>{r.checked?x("local",Be,"on"):_("local",Be),e.setMicrophone(
!r.checked)}),e.addEventListener("change",()=>this.#e.open&&V(e,qe),{signal:s}),t.addEventListener("mode",({detail:r})=>a(
"settings-mode").value=r,{signal:s})}close(){this.#e.close()}#s(e,t){this.#e.open||(a("settings-shortcuts").checked=He(),
a("settings-talk").checked=fe(),a("settings-mode").value=t.mode??"mesh",a("settings-mode-field").hidden=!t.canUseSfu,V(e,
qe),this.#e.showModal())}};var pe=class{#e;#s=!1;constructor(e,t){this.#e=e,document.addEventListener("keydown",s=>this.#t(s)&&this.#i(s,!0),{signal:t}),
document.addEventListener("keyup",s=>this.#s&&s.key===" "&&this.#i(s,!1),{signal:t}),addEventListener("blur",()=>this.#s&&
this.#r(!1),{signal:t}),fe()&&e.setMicrophone(!1)}#t({key:e,target:t}){return e===" "&&fe()&&!t.closest("input, select, \
textarea, dialog")}#i(e,t){e.preventDefault(),e.repeat||this.#r(t)}#r(e){this.#s=e,this.#e.setMicrophone(e)}};var Ms=[[],["Best"],["Best","Low"],["Best","Middle","Low"],["Best","High","Middle","Low"]],we=class extends EventTarget{show(e,{
id:t,name:s},i){let r=e.querySelector(".tile-quality"),o=r.querySelector("select");if(r.hidden=!i,!!i){if(o.options.length!==
i.count){let c=Ms[i.count];o.replaceChildren(...c.map((h,d)=>new Option(h,String(i.count-1-d)))),o.onchange=()=>this.dispatchEvent(
new CustomEvent("layer",{detail:{id:t,layer:Number(o.value)}}))}o.hidden=i.count<2,o.setAttribute("aria-label",`Maximum \
quality for ${s}`),o.value=String(i.wanted),r.dataset.layer=i.current===null?"":String(i.current),r.querySelector(".tile\
-layer").textContent=i.current===null?"":`layer ${i.current+1}/${i.count}`}}measure(e,{width:t,height:s,framesPerSecond:i,
bitrateIn:r}){let o=t?`${t}\xD7${s}, ${Math.round(i??0)} fps`:"";e.querySelector(".tile-size").textContent=o,e.querySelector(
".tile-bitrate").textContent=`${Math.round(r/1e3)} kbit/s`}};var ge=1.7777777777777777,C={w:96,h:54};function Mt(n,e,{focus:t,corner:s}){n.classList.remove("scrolls");let[i,r]=[n.clientWidth,
n.clientHeight];if(!i||!r||!e.length)return;let o=i>r,c=o?1.2:.8,h=e.filter(l=>l!==t&&l!==s);if(s){let l=Math.max(C.w,Math.
min(o?220:150,i*(o?.2:.28))),u=o?l/ge:l/.8;Ye([s],[[i-l-10,r-u-10,l,u]])}let d;if(t){let l=o?Math.max(C.w,Math.min(220,i*
.24)):Math.max(C.h,Math.min(130,r*.24));Ye([t],[o?[0,0,i-l-10,r]:[0,0,i,r-l-10]]),d=(o?We(h.length,l,r,c,1):We(h.length,
i,l,c,h.length)).map(([m,g,f,z])=>o?[m+i-l,g,f,z]:[m,g+r-l,f,z])}else d=We(h.length,i,r,c);Ye(h,d),n.classList.toggle("s\
crolls",d.some(([l,u,m,g])=>l+m>i+1||u+g>r+1))}function We(n,e,t,s,i){let r={area:-1,columns:1,w:0,h:0};for(let l=i??1;l<=
(i??n);l++){let u=Math.ceil(n/l),m=(e-10*(l-1))/l,g=(t-10*(u-1))/u;m/g>ge&&(m=g*ge),m/g<s&&(g=m/s),m*g>r.area&&(r={area:m*
g,columns:l,w:m,h:g})}if(r.w<C.w||r.h<C.h){let l=i??Math.max(1,Math.floor((e+10)/(C.w+10))),u=i===n,m=Math.max(C.w,u?0:(e-
10*(l-1))/l);r={area:0,columns:l,w:m,h:Math.max(C.h,u?Math.min(t,m/s):m/ge)}}let{w:o,h:c}=r,h=Math.ceil(n/r.columns),d=Math.
max(0,(t-h*c-(h-1)*10)/2);return Array.from({length:n},(l,u)=>{let m=Math.floor(u/r.columns),g=m===h-1?n-m*r.columns:r.columns;
return[Math.max(0,(e-g*o-(g-1)*10)/2)+u%r.columns*(o+10),d+m*(c+10),o,c]})}function Ye(n,e){n.forEach(({style:t},s)=>{let[
i,r,o,c]=e[s].map(Math.floor);t.setProperty("--x",`${i}px`),t.setProperty("--y",`${r}px`),t.setProperty("--w",`${o}px`),
t.setProperty("--h",`${c}px`)})}var Cs=4e3,Ct=({id:n,screen:e})=>e?`${n}/screen`:n,ve=class extends EventTarget{#e;#s=new Map;#t=null;#i="";#r="";#n;constructor(e){
super(),this.#e=e,this.#n=new ResizeObserver(()=>this.#h()),this.#n.observe(e)}show(e){let t=Ct(e),s=this.#s.get(t);s||(s=
{element:this.#o(e),view:e},this.#s.set(t,s));let{element:i}=s;s.view=e;let r=i.querySelector("video");r.srcObject!==e.stream&&
(r.srcObject=e.stream,this.#c(r)),i.classList.toggle("tile-dark",!e.video),i.classList.toggle("tile-away",!!e.away),i.querySelector(
".tile-muted").classList.toggle("shown",e.muted),i.querySelector(".tile-hand").classList.toggle("shown",!!e.hand),i.querySelector(
".tile-name").textContent=e.name,i.querySelector(".tile-role").textContent=e.screen?" (screen)":e.self?" (you)":"";let o=i.
querySelector(".tile-state");o.textContent=e.state,o.hidden=!e.state;let c=i.querySelector(".tile-pin");c.title=this.#i===
t?"Unpin":"Pin",c.setAttribute("aria-label",`${c.title} ${e.name}${e.screen?"\u2019s screen":""}`),Z(i.querySelector(".t\
ile-face"),e.id,e.name),this.#h()}remove(e){this.#a(e),this.removeScreen(e)}removeScreen(e){this.#a(`${e}/screen`)}speaking(e,t){
this.#s.get(e)?.element.classList.toggle("tile-speaking",t)}react(e,t){let s=this.#s.get(e)?.element;if(!s)return;let i=Object.
assign(document.createElement("span"),{className:"tile-reaction",textContent:t});s.append(i),setTimeout(()=>i.remove(),Cs)}useSpeaker(e){
if(e!==this.#r){this.#r=e;for(let{element:t}of this.#s.values())this.#l(t.querySelector("video"))}}tile(e){return this.#s.
get(e)?.element}get mainVideo(){let e=[...this.#s.values()].filter(({view:s})=>s.video);return(this.#s.get(this.#d())??e.
find(({view:s})=>!s.self)??e[0])?.element.querySelector("video")}invite(e,t){!!e!=!!this.#t&&(this.#t?.remove(),this.#t=
null,e&&(this.#t=k("invite-template"),t&&(this.#t.querySelector("h2").textContent=t.title,this.#t.querySelector("p").textContent=
t.text),this.#t.querySelector(".invite-link").textContent=e.replace(/^https?:\/\//,""),this.#e.append(this.#t)),this.#h())}play(){
for(let{element:e}of this.#s.values())this.#c(e.querySelector("video"))}clear(){for(let e of[...this.#s.keys()])this.#a(
e);this.invite(""),this.#n.disconnect()}#o(e){let t=k("tile-template"),s=Ct(e);t.dataset.userId=e.id,t.classList.toggle(
"tile-self",e.self),t.classList.toggle("tile-screen",e.screen);let i=t.querySelector("video");i.muted=e.self,this.#l(i);
let r=()=>{this.#i=this.#i===s?"":s;for(let{view:o}of[...this.#s.values()])this.show(o)};return t.querySelector(".tile-p\
in").addEventListener("click",r),t.addEventListener("dblclick",r),e.self&&!e.screen?this.#e.prepend(t):this.#e.insertBefore(
t,this.#t),t}#a(e){let t=this.#s.get(e);t&&(t.element.querySelector("video").srcObject=null,t.element.remove(),this.#s.delete(
e),this.#i===e&&(this.#i=""),this.#h())}#c(e){e.srcObject&&e.play().catch(t=>{t.name==="NotAllowedError"&&this.dispatchEvent(
new Event("blocked"))})}#l(e){!e.muted&&e.sinkId!==this.#r&&e.setSinkId?.(this.#r).catch(()=>{})}#d(){if(this.#s.has(this.#i))
return this.#i;let e=[...this.#s].filter(([,{view:t}])=>t.screen);return(e.find(([,{view:t}])=>!t.self)??e[0])?.[0]??""}#h(){
let e=[...this.#e.children],t=e.length>1?this.#s.get(this.#d())?.element:void 0;for(let[r,{element:o}]of this.#s)o.classList.
toggle("tile-focus",o===t),o.querySelector(".tile-pin").setAttribute("aria-pressed",String(r===this.#i));this.#e.classList.
toggle("has-focus",!!t);let s=e.find(r=>r.matches(".tile-self:not(.tile-screen)")),i=!t&&!this.#t&&e.length>1;s?.classList.
toggle("tile-small",i),Mt(this.#e,e,{focus:t,corner:i?s:void 0})}};var Rs=5e3,Ns=3;function $(n){N(n);let e=a("toasts"),t=document.createElement("p");for(t.className="toast",t.dir="auto",
t.textContent=n,e.append(t);e.children.length>Ns;)e.firstElementChild.remove();setTimeout(()=>t.remove(),Rs)}function Rt(){
a("toasts").replaceChildren()}var Nt={m:"tool-mic",v:"tool-camera",s:"tool-screen",h:"tool-hand",c:"tool-chat",p:"tool-people",l:"copy-link-call",i:"m\
enu-pip",f:"menu-fullscreen",t:"menu-stats","?":"menu-settings"},ye=class extends EventTarget{#e;#s;#t;#i;#r=0;constructor({
media:e,panel:t,audience:s,tiles:i,signal:r}){super(),this.#e=e,this.#s=t,this.#t=s,this.#i=i;let o=(c,h)=>a(c).addEventListener(
"click",h,{signal:r});o("tool-mic",()=>this.#o("audio",e.setMicrophone(!e.microphoneOn))),o("tool-camera",()=>this.#o("v\
ideo",e.setCamera(!e.cameraOn))),o("tool-screen",()=>this.#a()),o("tool-hand",()=>{s.raise(!s.isRaised),this.#h("hand")}),
o("tool-people",()=>t.toggle("people")),o("tool-chat",()=>t.toggle("chat")),o("tool-leave",()=>this.#h("leave")),o("menu\
-pip",()=>this.#c()),o("menu-fullscreen",()=>this.#l()),o("menu-stats",()=>this.#d()),t.addEventListener("change",()=>this.
draw(),{signal:r}),document.addEventListener("fullscreenchange",()=>this.draw(),{signal:r}),a("more-menu").addEventListener(
"click",({target:c})=>c.closest("button")&&a("more-menu").hidePopover(),{signal:r}),a("reactions").replaceChildren(...Re.
map(c=>this.#n(c))),a("menu-pip").hidden=!document.pictureInPictureEnabled,a("menu-fullscreen").hidden=!document.fullscreenEnabled}countMessage(){
return this.#s.shown==="chat"?!1:(this.#r+=1,this.draw(),!0)}draw(){let{microphoneOn:e,cameraOn:t,screen:s,canShareScreen:i}=this.#e,
r=(h,d)=>B(a(`tool-${h}`),d);r("mic",{name:e?"mic":"mic-off",word:"Mic",label:"Mic (microphone)",title:e?"Mute":"Unmute",
key:"m",pressed:e}),r("camera",{name:t?"camera":"camera-off",word:"Camera",label:"Camera",title:t?"Camera off":"Camera o\
n",key:"v",pressed:t}),r("screen",{name:"screen",word:"Share",label:"Share screen",title:s?"Stop sharing your screen":"S\
hare your screen",key:"s",pressed:!!s}),a("tool-screen").hidden=!i;let{isRaised:o}=this.#t;r("hand",{name:"hand",word:"H\
and",label:"Raise hand",title:o?"Lower your hand":"Raise your hand",key:"h",pressed:o});let{shown:c}=this.#s;c==="chat"&&
(this.#r=0),r("people",{name:"people",word:"People",label:"People",title:"People",key:"p"}),r("chat",{name:"chat",word:"\
Chat",label:this.#r?`Chat, ${this.#r} unread`:"Chat",title:"Chat",key:"c"}),a("tool-people").setAttribute("aria-expanded",
String(c==="people")),a("tool-chat").setAttribute("aria-expanded",String(c==="chat")),a("tool-chat").dataset.unread=this.#r?
String(Math.min(this.#r,99)):"",r("more",{name:"more",word:"More",label:"More",title:"Reactions, settings and more"}),r(
"leave",{name:"leave",word:"Leave",label:"Leave the call",title:"Leave the call"}),a("menu-fullscreen").setAttribute("ar\
ia-pressed",String(!!document.fullscreenElement))}dispose(){a("more-menu").hidePopover(),a("panel").classList.remove("wi\
th-statistics"),document.pictureInPictureElement&&document.exitPictureInPicture(),document.fullscreenElement&&document.exitFullscreen()}#n(e){
let t=Object.assign(document.createElement("button"),{type:"button",className:"reaction",textContent:e});return t.addEventListener(
"click",()=>{this.#t.react(e),this.#h("reaction",e)}),t}async#o(e,t){await t;let s=this.#e.problems[e];s&&this.#h("notic\
e",Q({audio:null,video:null,[e]:s}))}async#a(){if(this.#e.screen)return this.#e.stopScreen();try{await this.#e.startScreen()}catch(e){
this.#h("notice",`Your screen could not be shared (${e.message}).`)}}async#c(){try{document.pictureInPictureElement?await document.
exitPictureInPicture():await this.#i.mainVideo?.requestPictureInPicture()}catch(e){this.#h("notice",`Picture-in-picture \
is not available (${e.message}).`)}}async#l(){try{document.fullscreenElement?await document.exitFullscreen():await document.
documentElement.requestFullscreen()}catch(e){this.#h("notice",`The page cannot fill the screen (${e.message}).`)}}#d(){let e=a(
"panel").classList.toggle("with-statistics");a("menu-stats").setAttribute("aria-pressed",String(e)),e&&this.#s.open("peo\
ple")}#h(e,t){this.dispatchEvent(new CustomEvent(e,{detail:t}))}};var Se=class{#e=null;#s=new AbortController;constructor(){this.#t(),document.addEventListener("visibilitychange",()=>this.#t(),
{signal:this.#s.signal})}async#t(){if(document.visibilityState!=="visible")return;let e=await navigator.wakeLock?.request(
"screen").catch(()=>null);this.#s.signal.aborted?e?.release():this.#e=e??null}release(){this.#s.abort(),this.#e?.release()}};var _s=1e3,Ds=200,$s=.03,Ps=6e3,Us=2e3,js={title:"Waiting for the other person",text:"One other person can join, with th\
is link."},Fs={mesh:"The server is unavailable. Your call continues; no one can join until it is back.",sfu:"The server \
is unavailable, and audio and video go through it. The call continues when it is back."},Ee=class extends EventTarget{#e;#s;#t;#i;#r;#n;#o=new ve(
a("tiles"));#a=new we;#c=new ue;#l;#d;#h=new he;#u;#m;#w=new Se;#p="";#f="";#v=new MediaStream;#y=new MediaStream;#g=new AbortController;#E=[];#b=0;#x=0;#S=!1;#T=!0;constructor({
signaling:e,media:t,self:s,room:i,protocol:r,link:o,iceServers:c,wanted:h,loadDevice:d}){super(),this.#e=e,this.#s=t,this.#t=
s,this.#i=o,this.#r=r;let{signal:l}=this.#g;this.#n=new oe({signaling:e,name:s.name,iceServers:c,wanted:h,loadDevice:d}),
this.#l=new X({room:i,self:s,signaling:e,call:this.#n,signal:l}),this.#d=new J(e,l),this.#u=new ye({media:t,panel:this.#h,
audience:this.#d,tiles:this.#o,signal:l}),this.#m=new me({media:t,call:this.#n,signal:l}),new pe(t,l),a("room-name").textContent=
i,this.#O(),this.#L()}get userId(){return this.#e.userId}get signaling(){return this.#e}get mode(){return this.#n.mode}connections(){
let e=[...this.#n.members.values()].filter(({peer:t})=>t);return new Map(e.map(({id:t,peer:s})=>[t,s.connection??s]))}show(){
a("call").hidden=!1,this.#S=!0,this.#R(),this.#u.draw(),this.#I(),this.#M(),this.#E.push(setInterval(()=>this.#$(),_s)),
this.#E.push(setInterval(()=>this.#P(),Ds)),a("room-name").focus()}close({mayRejoin:e=!1}={}){this.#g.abort(),this.#E.forEach(
clearInterval),clearTimeout(this.#b),clearTimeout(this.#x),this.#n.close();for(let t of["mode-notice","device-notice","c\
all-notice"])y(a(t),"");this.#e.hangUp&&!e?this.#e.hangUp():this.#e.leave(),this.#w.release(),this.#o.clear(),this.#c.clear(),
this.#l.clear(),this.#h.dispose(),this.#u.dispose(),this.#m.close(),Rt(),a("call").hidden=!0}shortcut(e){e==="escape"&&this.#h.
close();let t=Nt[e];return t&&a(t).click(),!!t||e==="escape"}#O(){let{signal:e}=this.#g,t=(s,i,r)=>s.addEventListener(i,
o=>r(o.detail,o),{signal:e});t(this.#n,"joined",s=>{this.#k(s),this.#I(),this.#M(),this.#S&&$(`${s.name} joined`)}),t(this.#n,
"changed",s=>this.#k(s)),t(this.#n,"stream",s=>this.#k(s)),t(this.#n,"left",({id:s,name:i,reason:r})=>{this.#o.remove(s),
this.#c.remove(s),this.#I(),this.#M(),$(pt(i,r))}),t(this.#n,"mode",s=>this.#C(s)),t(this.#n,"speaker",({id:s})=>this.#N(
s)),t(this.#n,"failed",s=>this.#A(`The server refused some media: ${D(s)}`)),t(this.#a,"layer",({id:s,layer:i})=>this.#_(
s,i)),t(this.#l,"message",({name:s,text:i})=>this.#u.countMessage()&&$(`${s}: ${i}`)),t(this.#d,"hand",({id:s,raised:i})=>{
let r=this.#n.members.get(s);r&&(this.#k(r),i&&$(`${r.name} raises a hand`))}),t(this.#d,"reaction",({id:s,emoji:i})=>{this.#o.
react(s,i),N(`${this.#n.members.get(s)?.name??"A guest"}: ${i}`)}),t(this.#u,"hand",()=>this.#L()),t(this.#u,"reaction",
s=>this.#o.react(this.#t.id,s)),t(this.#u,"notice",s=>this.#A(s)),t(this.#u,"leave",()=>this.dispatchEvent(new Event("le\
ave"))),t(this.#e,"offline",()=>this.#R(!1)),t(this.#e,"online",()=>this.#R(!0)),t(this.#e,"ended",s=>this.dispatchEvent(
new CustomEvent("ended",{detail:s}))),t(this.#s,"change",()=>this.#L()),t(this.#s,"lost",({kind:s,replaced:i})=>{let r=s===
"audio"?"microphone":"camera";this.#A(i?`Your ${r} was removed; another one is in use now.`:`Your ${r} was removed, or i\
ts permission withdrawn.`)}),t(this.#o,"blocked",()=>this.#D())}#L(){let e=this.#s,t={audio:e.microphoneOn,video:e.cameraOn,
screen:!!e.screen},{microphone:s,camera:i,screen:r,screenAudio:o}=e;this.#n.send({audio:s,video:i,screen:r,screenAudio:o},
t),this.#v=_t(this.#v,e.camera);let c={...this.#t,self:!0,state:""},h=this.#d.isRaised;this.#o.show({...c,stream:this.#v,
video:t.video,screen:!1,muted:!t.audio,hand:h}),this.#y=_t(this.#y,e.screen),e.screen?this.#o.show({...c,stream:this.#y,
video:!0,screen:!0,muted:!1}):this.#o.removeScreen(this.#t.id),this.#c.showSelf({...this.#t,microphone:t.audio,camera:t.
video,screen:t.screen,hand:h}),this.#o.useSpeaker(e.speaker),y(a("device-notice"),e.microphoneOn&&e.isSilenced?ee:""),this.#u.
draw()}#k(e){let{id:t,name:s,peer:i,sends:r,away:o}=e,c=i?.stream??null,h=c?.getVideoTracks()[0],d=this.#d.hasRaised(t),
l=i?.state==="connected"&&!o?"":Fe(e,this.mode),u=!!h&&(r?r.video:!h.muted);this.#o.show({id:t,name:s,self:!1,stream:c,video:u,
screen:!1,muted:!!r&&!r.audio,hand:d,away:o,state:l});let m=i?.screen.getVideoTracks()[0];!!m&&(r?r.screen:!m.muted)?this.#o.
show({id:t,name:s,self:!1,stream:i.screen,video:!0,screen:!0,muted:!1,state:""}):this.#o.removeScreen(t),this.#a.show(this.#o.
tile(t),e,r?.video?i?.layers??null:null),this.mode==="sfu"&&this.#p===t&&!r?.audio&&this.#N(""),this.#c.show(e,{mode:this.
mode,hand:d})}#I(){this.#o.invite(this.#n.members.size?"":this.#i,this.#r.forTwo?js:void 0)}#C(e){this.#N(""),this.#R(),
this.#M(),this.#S&&e==="sfu"&&$("Audio and video now go through the server"),this.#S&&e==="mesh"&&$("Audio and video now\
 go from browser to browser"),this.dispatchEvent(new CustomEvent("mode",{detail:e}))}#M(){let e=a("mode-notice"),t=this.#r.
forTwo?null:Ot(this.#n);if(!t||t.text===this.#f)return y(e,"");if(e.firstChild?.textContent===t.text)return;y(e,t.text);
let{mode:s,text:i}=t;s&&e.append(Ve(`Change to ${s==="sfu"?"SFU":"mesh"}`,()=>this.#n.ask(s).catch(r=>this.#A(D(r))))),e.
append(Ve("Not now",()=>{this.#f=i,y(e,"")}))}#N(e){this.#o.speaking(this.#p,!1),this.#p=e,this.#o.speaking(e,!0)}async#_(e,t){
try{await this.#n.preferLayer(e,t)}catch(s){this.#A(D(s))}}#R(e=this.#T){let t=this.#T;this.#T=e;let s=a("server-state");
s.dataset.state=e?"online":"offline",s.textContent=e?`Connected over ${this.#r.name}${this.mode==="sfu"?", media by SFU":
""}`:"Reconnecting\u2026",e!==t&&(clearTimeout(this.#x),e?this.#A(""):this.#x=setTimeout(()=>this.#A(Fs[this.mode??"mesh"],
{stays:!0}),Us))}notify(e){this.#A(e)}#A(e,{stays:t=!1}={}){clearTimeout(this.#b),y(a("call-notice"),e),e&&!t&&(this.#b=
setTimeout(()=>y(a("call-notice"),""),Ps))}#D(){this.#A("Your browser has blocked audio. ",{stays:!0}),a("call-notice").
append(Ve("Turn on audio",()=>{this.#A(""),this.#o.play()}))}async#$(){for(let e of this.#n.members.values()){let t=await e.
peer?.stats().catch(()=>null),s=this.#o.tile(e.id);!t||!s||(this.#c.measure(e,t),this.mode==="sfu"&&this.#a.measure(s,t))}}#P(){
if(this.mode!=="sfu")for(let{id:e,peer:t}of this.#n.members.values())this.#o.speaking(e,(t?.audioLevel??0)>$s)}};function _t(n,e){
let[t]=n.getVideoTracks();return t===(e??void 0)?n:new MediaStream(e?[e]:[])}function Ve(n,e){let t=Object.assign(document.
createElement("button"),{type:"button",className:"button button-small",textContent:n});return t.addEventListener("click",
e),t}var Ke=navigator.hardwareConcurrency<=4,Dt=Ke?{width:960,height:540,frameRate:24}:{width:1280,height:720,frameRate:24},ze={
audio:{echoCancellation:!0,noiseSuppression:!0,autoGainControl:!0},video:{width:{ideal:Ke?640:1280},height:{ideal:Ke?360:
720},frameRate:{ideal:24,max:30}}},be=class extends EventTarget{microphone=null;camera=null;screen=null;screenAudio=null;speaker="";problems={
audio:null,video:null};#e={audio:"",video:""};#s=ze.video;constructor(){super(),navigator.mediaDevices?.addEventListener(
"devicechange",()=>this.#c())}get isSilenced(){return!!this.microphone?.muted}get microphoneOn(){return!!this.microphone?.
enabled}get cameraOn(){return!!this.camera}get canShareScreen(){return!!navigator.mediaDevices?.getDisplayMedia}async open({
audio:e=!0,video:t=!0}={}){let s=[e&&"audio",t&&"video"].filter(Boolean);if(!s.length)return;let i=await this.#i(s);if(i&&
s.length>1&&i.name!=="NotAllowedError"&&i.name!=="NotSupportedError")for(let r of s)await this.#i([r]);this.#c()}async setMicrophone(e){
e&&!this.microphone&&await this.#i(["audio"]),this.microphone&&(this.microphone.enabled=e),this.#c()}async setCamera(e){
e&&!this.camera&&await this.#i(["video"]),e||this.#a("video"),this.#c()}async choose(e,t){if(e==="speaker")return this.speaker=
t,this.#c();this.#e[e]=t,!(e==="video"&&!this.camera)&&(await this.#t(e),this.#c())}async resize(e){let t=e&&Object.fromEntries(
Object.entries(e).map(([s,i])=>[s,{ideal:i}]));this.#s=t??ze.video,this.camera&&(this.#a("video"),await this.#i(["video"]),
this.#c())}async startScreen(){try{let e=await navigator.mediaDevices.getDisplayMedia({video:{frameRate:{max:15}},audio:!0});
[this.screen]=e.getVideoTracks(),this.screenAudio=e.getAudioTracks()[0]??null}catch(e){if(e.name==="NotAllowedError")return!1;
throw e}return this.screen.contentHint="detail",this.screen.addEventListener("ended",()=>this.stopScreen()),this.#c(),!0}stopScreen(){
this.#o(),this.#c()}async devices(e){let t=await navigator.mediaDevices?.enumerateDevices()??[],s={audio:this.microphone,
video:this.camera,speaker:null}[e],i=e==="speaker"?this.speaker||"default":s?.getSettings().deviceId??this.#e[e];return t.
filter(r=>r.kind===(e==="speaker"?"audiooutput":`${e}input`)&&r.deviceId&&r.label).map(r=>({id:r.deviceId,label:r.label,
chosen:r.deviceId===i}))}stop(){this.#a("audio"),this.#a("video"),this.#o()}async#t(e,t=e==="audio"&&!!this.microphone&&
!this.microphoneOn){this.#a(e),await this.#i([e]),t&&this.microphone&&(this.microphone.enabled=!1)}async#i(e){try{if(!navigator.
mediaDevices)throw new DOMException("not a secure context","NotSupportedError");let t=Object.fromEntries(e.map(i=>[i,this.#r(
i)])),s=await navigator.mediaDevices.getUserMedia(t);for(let i of s.getTracks())this.#n(i);return null}catch(t){for(let s of e)
this.problems[s]=t;return t}}#r(e){let t=this.#e[e],s=e==="video"?this.#s:ze.audio;return t?{...s,deviceId:{exact:t}}:s}#n(e){
this.#a(e.kind),this.problems[e.kind]=null,e.kind==="audio"?this.microphone=e:this.camera=e,e.addEventListener("ended",async()=>{
let t=e.kind;this.#e[t]="",await this.#t(t,t==="audio"&&!e.enabled),this.#c(),this.dispatchEvent(new CustomEvent("lost",
{detail:{kind:t,replaced:!!(t==="audio"?this.microphone:this.camera)}}))});for(let t of["mute","unmute"])e.addEventListener(
t,()=>this.#c())}#o(){this.screen?.stop(),this.screenAudio?.stop(),this.screen=this.screenAudio=null}#a(e){e==="audio"?(this.
microphone?.stop(),this.microphone=null):(this.camera?.stop(),this.camera=null)}#c(){this.dispatchEvent(new Event("chang\
e"))}};function $t(n){let e=new AudioContext,t=e.createAnalyser();t.fftSize=512,e.createMediaStreamSource(new MediaStream(
[n])).connect(t),e.resume().catch(()=>{});let s=new Float32Array(t.fftSize);return{level(){t.getFloatTimeDomainData(s);let i=s.
reduce((r,o)=>r+o*o,0)/s.length;return i?Math.min(1,Math.max(0,(10*Math.log10(i)+60)/50)):0},stop:()=>e.close()}}var qs=6e4,Gs={1e3:"ROOM_CLOSED",1008:"REFUSED",1009:"PAYLOAD_TOO_LARGE",1011:"INTERNAL",1012:"SHUTTING_DOWN"},Je="entry",
R=class extends nt{#e=null;#s=null;#t=!1;#i=0;#r=null;#n=new Map;get online(){return this.#t}async enter(e){if(await this.
prepare(),this.roomId!==e)throw new w("OFFLINE");return this.#o(e)}disconnect(){this.#d(),this.#s?.close(1e3),this.#s=null,
this.#u()}async reconnect(){if(this.roomId!==null)try{await this.enter(this.roomId)}catch(e){let t=e;if(!this.#e)return;
this.#d(),this.#c(t)?this.retryLater(t.retryAfterMs):this.refused(t)}}async prepare(){}place(e){throw new Error("not imp\
lemented by this protocol")}open(e){}receive(e){}get canResume(){return!1}endpoint(e,t={}){let s=this.address(e);s.protocol=
s.protocol.replace("http","ws"),this.token&&s.searchParams.set("token",this.token);for(let[i,r]of Object.entries(t))s.searchParams.
set(i,r);return s}get connected(){return this.#e?.readyState===WebSocket.OPEN}entered(e,t,s){this.#t=!0,this.tell("room-\
users",{users:e,userId:t,iceServers:s}),this.#l({recovered:!1},{roomId:this.roomId,userId:t,users:e,iceServers:s})}resumed(){
this.#t=!0,this.#l({recovered:!0})}lost(e){let t=this.#e;t&&(this.#t&&this.canResume?this.#s=t:t.close(1e3),this.#a(t,{code:1006,
reason:e},!0))}send(e){if(!this.#e||!this.connected)throw new w("OFFLINE");this.#e.send(JSON.stringify(e))}expect(e,{within:t=it,
succeedsOnTimeout:s=!1}={}){return new Promise((i,r)=>{let o=()=>s?this.settle(e):this.fail(e,new w("TIMEOUT"));this.#n.
set(e,{resolve:i,reject:r,timer:setTimeout(o,t)})})}settle(e,t){let s=this.#h(e);return s?.resolve(t),!!s}fail(e,t){let s=this.#h(
e);return s?.reject(t),!!s}notEntered(e){this.fail(Je,e)}trouble(e){this.#r=e,this.#t?this.endIfFinal(e):this.notEntered(
e)}#o(e){let t=new WebSocket(this.place(e)),s=this.expect(Je);this.#e=t,this.#r=null;let i=!1,r=()=>this.#e===t;return t.
addEventListener("open",()=>{i=!0,r()&&this.open(e)}),t.addEventListener("message",({data:o})=>{let c=r()&&Bs(o);c&&this.
receive(c)}),t.addEventListener("close",o=>r()&&this.#a(t,o,i)),s}#a(e,{code:t,reason:s},i){let r=this.#t;this.#t=!1,this.#e=
null;let o=new w(st(s)??this.#r?.code??(i?Gs[t]??"OFFLINE":"UNREACHABLE"),this.#r?.message??s,this.#r?.retryAfterMs);this.
notEntered(o),this.#u(),this.joined&&(r&&(this.#i=Date.now(),this.dropped(s||`closed with ${t}`,o.code)),this.#c(o)?this.
retryLater(o.retryAfterMs):t===1008||t===1e3?this.end(o):this.endIfFinal(o)||this.retryLater(o.retryAfterMs))}#c(e){return e.
code==="ROOM_FULL"&&Date.now()-this.#i<qs}#l(e,t){this.#s?.close(1e3),this.#s=null,this.settle(Je,t),this.arrived(e)}#d(){
let e=this.#e;this.#e=null,this.#t=!1,e?.close(1e3)}#h(e){let t=e===void 0?void 0:this.#n.get(e);return t&&e!==void 0&&this.#n.
delete(e),clearTimeout(t?.timer),t}#u(){for(let e of[...this.#n.keys()])this.fail(e,new w("OFFLINE"))}};function A(n,e){
return typeof e=="string"?{type:n,sdp:e}:{...e,type:n}}function Bs(n){if(typeof n!="string")return null;try{let e=JSON.parse(
n);return e&&typeof e=="object"?e:null}catch{return null}}function Te(){let n=crypto.getRandomValues(new Uint8Array(16));return n[6]=n[6]&15|64,n[8]=n[8]&63|128,Array.from(n,t=>t.
toString(16).padStart(2,"0")).join("").replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/,"$1-$2-$3-$4-$5")}var Hs=["auth:response","room:state"],Ws={offer:"sdp:offer",answer:"sdp:answer",candidate:"ice:candidate"},Ys=5e3,Vs=4e3,
Ie=class extends R{#e;#s;#t;#i;#r=0;#n=!1;#o=!1;#a;constructor({url:e,userId:t,name:s,metadata:i,token:r}){super({url:e,
token:r}),this.#e=t,this.#s=s,this.#t=i}get userId(){return this.#e}get metadata(){return this.#t}async ask(e,t={}){if(!this.
online)throw new w("OFFLINE");return this.#h(e,t)}get canResume(){return this.#i!==void 0}place(){return this.endpoint("\
/ws")}async open(e){try{let t=await this.#l();this.#n&&=t,this.#n?this.resumed():await this.#c(e),this.#d()}catch(t){this.
notEntered(t)}}disconnect(){clearTimeout(this.#a),this.#i=void 0,this.#n=!1,super.disconnect()}networkLost(){this.lost("\
the browser is offline")}sendLeave(e){this.send(Pt("room:leave",{roomId:e}))}async authenticate(e){let{success:t,error:s}=await this.#h(
"auth:request",{token:e});if(!t)throw new w(s?.code??"INTERNAL",s?.message)}async transmit(e,t,s,i){if(!this.online)throw new w(
"OFFLINE");let r=e==="candidate"?{candidate:null,sdpMid:null,sdpMLineIndex:null,...s}:s;return this.#h(Ws[e],{...i,...r,
targetUserId:t,roomId:this.roomId})}transmitMessage(e,t,s){return this.ask("room:message",{topic:e,data:t,roomId:this.roomId,
...s&&{targetUserId:s}})}async update(e){this.#t={...this.#t,...e},await this.ask("room:update",{metadata:e,roomId:this.
roomId})}async#c(e){let t={id:this.#e,displayName:this.#s},{participants:s,iceServers:i}=await this.#h("room:join",{roomId:e,
user:t,metadata:{...this.#t,name:this.#s}});this.#n=!0;let r=s.map(o=>this.#m(o));this.entered(r.filter(({userId:o})=>o!==
this.#e),this.#e,i)}async#l(){if(this.#i===void 0)return!1;let e={resumeToken:this.#i,lastSequence:this.#r};this.#o=!0;try{
return(await this.#h("auth:request",e)).recovered===!0}catch(t){if(["OFFLINE","TIMEOUT"].includes(t.code))throw t;return!1}finally{
this.#o=!1}}#d(){clearTimeout(this.#a),this.#a=setTimeout(async()=>{if(this.online){try{await this.#h("ping",{},Vs)}catch(e){
if(e.code==="TIMEOUT")return this.lost("the server does not answer")}this.#d()}},Ys)}#h(e,t,s){let i=Te();return this.send(
{...Pt(e,t),correlationId:i}),this.expect(i,{within:s})}receive({type:e,payload:t={},correlationId:s,sequence:i}){if(i!==
void 0&&(!this.#o||t.recovered===!1)&&(this.#r=i),Hs.includes(e)&&(this.#i=t.resumeToken??this.#i),e==="error"){let{code:r="\
INTERNAL",message:o,retryAfterMs:c}=t,h=new w(r,o,c);this.fail(s,h)||this.trouble(h)}else this.settle(s,t)||this.#u(e,t)}#u(e,t){
let{fromUserId:s,targetUserId:i,user:r,sdp:o,candidate:c,sdpMid:h,sdpMLineIndex:d,usernameFragment:l,...u}=t,m={...u,from:s,
userId:s};switch(e){case"room:participant-joined":return this.tell("user-joined",this.#m(t.participant));case"room:parti\
cipant-left":return this.tell("user-left",{...u,id:t.userId});case"room:participant-away":return this.tell("user-away",{
...u,id:t.userId});case"room:participant-back":return this.tell("user-back",{...u,id:t.userId});case"room:participant-up\
dated":return this.tell("user-updated",this.#m(t.participant));case"room:message":return this.tell("application",{from:s,
topic:t.topic,data:t.data});case"sdp:offer":return this.tell("offer",{...m,offer:A("offer",o)});case"sdp:answer":return this.
tell("answer",{...m,answer:A("answer",o)});case"ice:candidate":return this.tell("ice-candidate",{...m,candidate:c===null?
null:{candidate:c,sdpMid:h,sdpMLineIndex:d,usernameFragment:l}});default:return this.tell("message",{type:e,payload:t})}}#m({
userId:e,displayName:t,joinedAt:s,metadata:i}){let r=t===e?void 0:t;return K({userId:e,joinedAt:s,roomId:this.roomId},{...i,
name:r})}};function Pt(n,e){return{type:n,payload:e,timestamp:Date.now()}}var zs=300,Ks=1500,Ze=Object.freeze({id:"other",userId:"other",anonymous:!0}),Js=["SESSION_ENDED","SESSION_NOT_FOUND"],xe=class extends R{#e;#s=0;#t=new Set;#i;hangUp(){
this.connected&&this.send({type:"hangup",sessionId:this.roomId}),this.close()}async prepare(){let e=this.iceServers().then(
t=>this.#i=t??this.#i);this.#i||await e}place(){return this.endpoint("/signal")}open(e){this.#n(),this.send({type:"join",
sessionId:e}),this.#e=setTimeout(()=>this.#r({expected:!0}),zs)}#r(e){this.#n(),this.connected&&this.entered([{...Ze,...e,
roomId:this.roomId??void 0}],void 0,this.#i)}#n(){clearTimeout(this.#e),this.#e=void 0}disconnect(){this.#n(),super.disconnect()}sendLeave(e){
this.send({type:"leave",sessionId:e})}async transmit(e,t,s,i){if(!this.online)throw new w("OFFLINE");let r=e==="candidat\
e"?{candidate:s}:{sdp:s};this.send({...i,type:e,...r,sessionId:this.roomId});let o=String(++this.#s);this.#t.add(o);try{
await this.expect(o,{within:Ks,succeedsOnTimeout:!0})}finally{this.#t.delete(o)}}receive(e){let{type:t,sessionId:s,user:i,
sdp:r,candidate:o,...c}=e,h={...c,from:Ze.userId};switch(t){case"offer":this.#e!==void 0&&this.#r({calling:!0}),this.tell(
t,{...h,user:Ze,offer:A(t,r)});break;case"answer":this.tell(t,{...h,answer:A(t,r)});break;case"candidate":this.tell("ice\
-candidate",{...h,candidate:Zs(o)});break;case"hangup":this.end(new w("HUNG_UP"));break;case"error":this.#o(new w(e.code??
"INTERNAL",e.message,e.retryAfterMs));break}}#o(e){if(this.#n(),Js.includes(e.code))return this.end(new w("HUNG_UP"));for(let t of this.#t)
this.fail(t,e);this.trouble(e)}};function Zs(n){return typeof n=="string"?{candidate:n,sdpMLineIndex:0}:n}var Xs=1500,Qs={target_not_found:"TARGET_NOT_FOUND",dropped:"DELIVERY_FAILED",missing_target:"INVALID_MESSAGE",invalid_type:"\
INVALID_MESSAGE"},ei={offer:"offer",answer:"answer",candidate:"ice-candidate"},Oe=class extends R{#e;#s;#t;#i=new Set;#r=0;constructor({
url:e,name:t,token:s}){super({url:e,token:s}),this.#e=t}get userId(){return this.#s}place(e){return this.endpoint(`/ws/${encodeURIComponent(
e)}`,{metadata:JSON.stringify({name:this.#e})})}transmit(e,t,s){return this.#n({type:ei[e],to:t,payload:s})}transmitMessage(e,t,s){
return this.#n({type:"message",payload:t,...s&&{to:s}})}async#n(e){if(!this.online)throw new w("OFFLINE");let t=String(++this.#r);
this.send({...e,msgId:t}),await this.expect(t,{within:Xs,succeedsOnTimeout:!0})}receive(e){let{type:t,from:s,payload:i}=e,
r={from:s,userId:s};switch(t){case"welcome":this.#s&&this.#i.add(this.#s),this.#s=e.selfId,this.#t=e.iceServers;break;case"\
peer-list":this.#o(e.peers);break;case"peer-joined":this.#i.has(e.peerId)||this.tell("user-joined",this.#a(e.peerId,e.metadata));
break;case"peer-left":this.#i.has(e.peerId)||this.tell("user-left",this.#a(e.peerId));break;case"offer":this.tell(t,{...r,
offer:A(t,i)});break;case"answer":this.tell(t,{...r,answer:A(t,i)});break;case"ice-candidate":this.tell(t,{...r,candidate:i});
break;case"message":this.tell("application",{from:s,topic:typeof i?.topic=="string"?i.topic:t,data:i});break;case"error":{
let o=new w(Qs[e.code]??e.code??"INTERNAL",e.message,e.retryAfterMs);this.fail(e.msgId,o)||this.trouble(o);break}}}#o(e){
let t=e.filter(({id:s})=>!this.#i.has(s));this.entered(t.map(({id:s,metadata:i})=>this.#a(s,i)),this.#s,this.#t)}#a(e,t){
return K({userId:e,roomId:this.roomId},t)}};var P=[{id:"envelope",name:"Envelope",description:"A WebSocket with typed requests and responses. Calls of any size.",hasSfu:!0,
load:async()=>Ie},{id:"socketio",name:"Socket.IO",description:"Works where WebSockets are blocked. Mesh only.",load:async()=>(await import("./signaling-socketio.js")).
SocketIoSignaling},{id:"topic",name:"Topic",description:"The smallest protocol: a WebSocket for each room, ids assigned \
by the server. Mesh only.",load:async()=>Oe},{id:"session",name:"Session",description:"A call for two by link, without n\
ames. Waits for the other person.",forTwo:!0,load:async()=>xe}];function q(n){return P.find(e=>e.id===n)}var ti=5,si=100,ii=400,ni=2e3,ri=1e4,oi={room:{label:"Room",title:"Start a call",lead:"Everyone with the link to a room \
can join it. There is nothing to install and no account."},roomInvited:{label:"Room",title:"You are invited",lead:"Check\
 your camera and microphone, then join the others in this room."},two:{label:"Call",title:"Call someone",lead:"A call fo\
r two: send the link to one person. The call waits for them, and no one else can join."},twoInvited:{label:"Call",title:"\
Someone calls you",lead:"Check your camera and microphone, then join. This call is for the two of you only."}},ke=class extends EventTarget{#e;#s=null;#t=0;#i=!1;#r;#n;#o;#a;#c=0;#l=0;#d=new AbortController;#h=Promise.
resolve(null);constructor({media:e,name:t,room:s,invited:i,protocol:r,mode:o,token:c}){super(),this.#e=e,this.#r=i,this.#n=
r,this.#o=o,this.#a=c,a("name").value=t,a("room").value=s,a("protocol-options").replaceChildren(...P.map(h=>ci(h,h===r))),
a("mode-options").replaceChildren(...F.map(ai)),this.#f(),a("preview-meter").replaceChildren(...Array.from({length:ti},()=>document.
createElement("i"))),a("room").addEventListener("input",()=>{this.#r=!1,this.#f(),clearTimeout(this.#c),y(a("room-member\
s"),""),this.#c=setTimeout(()=>this.#p(),ii)}),a("mode-options").addEventListener("change",({target:h})=>this.#w(ce(h.value))),
a("protocol-options").addEventListener("change",({target:h})=>{this.#n=q(h.value),this.#f(),this.dispatchEvent(new CustomEvent(
"protocol",{detail:this.#n}))}),a("join-form").addEventListener("submit",h=>{h.preventDefault(),this.#u()}),a("preview-m\
ic").addEventListener("click",()=>e.setMicrophone(!e.microphoneOn)),a("preview-camera").addEventListener("click",()=>e.setCamera(
!e.cameraOn)),a("retry-devices").addEventListener("click",()=>e.open()),a("camera-choice").addEventListener("change",({target:h})=>e.
choose("video",h.value)),a("microphone-choice").addEventListener("change",({target:h})=>e.choose("audio",h.value)),e.addEventListener(
"change",()=>this.#i&&this.#v())}show(e=""){this.#i=!0,a("lobby").hidden=!1,this.busy(!1),y(a("lobby-error"),e),e&&a("jo\
in").focus(),this.#v(),this.#f(),this.#p(),this.#l=setInterval(()=>document.visibilityState==="visible"&&this.#p(),ri)}hide(){
this.#i=!1,clearTimeout(this.#c),clearInterval(this.#l),this.#d.abort(),a("lobby").hidden=!0,a("preview-video").srcObject=
null,this.#E()}async hasSfu(){return(await Promise.race([this.#h,new Promise(t=>setTimeout(t,ni,null))]))?.sfu??!0}busy(e){
a("join").disabled=e,a("join").textContent=e?"Joining\u2026":"Join",e&&y(a("lobby-error"),"")}shortcut(e){let t={m:"prev\
iew-mic",v:"preview-camera"}[e];return t&&a(t).click(),!!t}#u(){let e=T(a("name").value),t=a("room").value.trim(),s=e?t?
null:"room":"name";if(a("name").setAttribute("aria-invalid",String(!e)),a("room").setAttribute("aria-invalid",String(!t)),
s){y(a("lobby-error"),s==="name"?"Enter your name: the others will see it.":this.#m?"A call needs a name.":"A room needs\
 a name."),a(s).focus();return}this.dispatchEvent(new CustomEvent("join",{detail:{name:e,room:t}}))}get#m(){return!!this.#n.
forTwo}#w(e){this.#o=e,this.#f(),this.dispatchEvent(new CustomEvent("mode",{detail:e}))}async#p(){this.#d.abort(),this.#d=
new AbortController;let{signal:e}=this.#d,t=It(a("room").value.trim(),this.#a,e);this.#h=t;let s=await t;if(e.aborted||!s)
return;let i=s.names.map(T).filter(Boolean);y(a("room-members"),xt({names:i,count:s.count})),a("mode").disabled=!s.sfu,y(
a("mode-hint"),s.sfu?"":"This server has no media server: every call is a mesh.")}#f(){for(let t of a("mode-options").querySelectorAll(
"input"))t.checked=t.value===this.#o.id;a("mode-description").textContent=this.#n.hasSfu?this.#o.description:`Over ${this.#n.
name} every call is a mesh.`,a("mode-chosen").textContent=this.#n.hasSfu?this.#o.name:"Mesh";let e=oi[(this.#m?"two":"ro\
om")+(this.#r?"Invited":"")];a("lobby-title").textContent=e.title,a("lobby-lead").textContent=e.lead,a("room-label").textContent=
e.label,a("protocol-chosen").textContent=this.#n.name}#v(){let e=this.#e,t=a("preview-video");t.srcObject?.getVideoTracks()[0]!==
(e.camera??void 0)&&(t.srcObject=e.camera&&new MediaStream([e.camera])),t.hidden=!e.camera;let s=Q(e.problems)||(e.microphoneOn&&
e.isSilenced?ee:"");y(a("preview-note"),e.camera?"":e.problems.video?"Your camera is not available":"Your camera is off"),
y(a("device-error"),s&&`${s} ${ft}`),a("retry-devices").hidden=!s;let i=e.microphoneOn;B(a("preview-mic"),{name:i?"mic":
"mic-off",label:"Microphone",title:i?"Mute":"Unmute",key:"m",pressed:i});let r=e.cameraOn;B(a("preview-camera"),{name:r?
"camera":"camera-off",label:"Camera",title:r?"Camera off":"Camera on",key:"v",pressed:r}),this.#y(),this.#g()}async#y(){
a("devices").hidden=!await V(this.#e,{video:"camera-choice",audio:"microphone-choice"})}#g(){this.#E();let e=[...a("prev\
iew-meter").children];a("preview-meter").hidden=!this.#e.microphoneOn,this.#e.microphoneOn&&(this.#s=$t(this.#e.microphone),
this.#t=setInterval(()=>{let t=Math.ceil(this.#s.level()*e.length);e.forEach((s,i)=>s.classList.toggle("lit",i<t))},si))}#E(){
clearInterval(this.#t),this.#s?.stop(),this.#s=null}};function ai({id:n,name:e}){let t=k("mode-template");return t.querySelector(
"input").value=n,t.querySelector("span").textContent=e,t}function ci({id:n,name:e,description:t},s){let i=k("protocol-te\
mplate"),r=i.querySelector("input");return r.value=n,r.checked=s,i.querySelector(".protocol-name").textContent=e,i.querySelector(
".protocol-description").textContent=t,i}var Ut=n=>`parlor.room.${n}`;async function jt(n){let{held:e=[]}=await navigator.locks?.query()??{};return e.some(({name:t})=>t===
Ut(n))}function Ft(n){let e=()=>{},t=new Promise(s=>e=s);return navigator.locks?.request(Ut(n),{mode:"shared"},()=>t).catch(
()=>{}),e}var p=new URLSearchParams(location.search);hi();li();var E=new be,Le=p.get("stun"),et=di(),Xe=dt(et)??I("session","parlo\
r.userId")??x("session","parlor.userId",Te()),S=null,Qe=()=>{},v=p.get("room")?.trim()??"",M=pi(),U=ce(p.get("media"))??
F[0],b=new ke({media:E,name:I("local","parlor.name")??"",room:v||ut(),invited:!!v,protocol:M,mode:U,token:et});b.addEventListener(
"protocol",({detail:n})=>wi(n));b.addEventListener("mode",({detail:n})=>gi(n));b.addEventListener("join",async({detail:n})=>{
b.busy(!0);let e=await mi(n.room);await tt(n),e&&S?.notify("Your microphone is off: this room is open in another tab of \
this browser.")});Ae();E.addEventListener("change",()=>S&&Yt());window.parlor=Object.freeze({get userId(){return S?.userId??
Xe},room:()=>S?v:"",peers:()=>S?.connections()??new Map,signaling:()=>S?.signaling,mode:()=>S?.mode??null});function hi(){
let n=p.get("wire");p.delete("wire"),n&&!p.has("protocol")&&p.set("protocol",n)}function li(){let n=p.get("session")?.trim();
n&&(p.delete("session"),p.set("room",n),p.set("protocol","session"))}function di(){let n=p.get("token");return p.delete(
"token"),n?x("session","parlor.token",n):(performance.getEntriesByType("navigation")[0]?.type==="navigate"&&_("session",
"parlor.token"),I("session","parlor.token")??void 0)}async function ui(){let n=JSON.parse(I("session","parlor.call")??"n\
ull");if(b.show(),await Gt(),n?.room!==v||!v)return E.open();b.busy(!0),await E.open({audio:n.microphone,video:n.camera}),
await tt({name:n.name??"Guest",room:v})}async function mi(n){return!E.microphoneOn||!await jt(n)?!1:(await E.setMicrophone(
!1),!0)}async function tt({name:n,room:e}){b.busy(!0),v=e,x("local","parlor.name",n);try{S=await fi(n)}catch(t){_("sessi\
on","parlor.call"),b.show(D(t));return}Qe(),Qe=Ft(v),S.addEventListener("leave",vi),S.addEventListener("ended",({detail:t})=>yi(
t)),b.hide(),a("end-screen").hidden=!0,S.show(),Yt(),p.set("room",v),Ae(),document.title=`${v} \xB7 Parlor`,N(`You are i\
n ${v}`)}async function fi(n){try{return await qt(M,n)}catch(e){if(e.code!=="UNREACHABLE"||M!==P[0])throw e;try{return await qt(
q("socketio"),n)}catch(t){throw t.code?t:e}}}async function qt(n,e){let t=await n.load(),s=!!n.hasSfu&&await b.hasSfu(),
i=new t({userId:Xe,name:e,token:et,metadata:s?{media:"auto"}:void 0}),r=Le?[{urls:Le.startsWith("stun:")?Le:`stun:${Le}`}]:
void 0,o=U.id==="auto"?void 0:U.id,h={signaling:i,media:E,self:{id:Xe,name:e},room:v,protocol:n,link:Wt(),iceServers:r,wanted:o},
d=new Ee({...h,loadDevice:s?Tt:void 0});try{return await i.join(v),d}catch(l){throw d.close(),l}}function Gt(){let[,n,e,
t="24"]=/^(\d+)x(\d+)(?:@(\d+))?$/.exec(p.get("camera")??"")??[];return n?E.resize({width:Number(n),height:Number(e),frameRate:Number(
t)}):E.resize(U.id==="sfu"?Dt:null)}function pi(){let n=q(I("session","parlor.protocol")),e=n&&!(v&&n.forTwo);return q(p.
get("protocol"))??(e?n:P[0])}function wi(n){M=n,x("session","parlor.protocol",M.id),Ae()}function gi(n){return U=n,Ae(),
Gt()}function Ae(){M===P[0]?p.delete("protocol"):p.set("protocol",M.id),U===F[0]?p.delete("media"):p.set("media",U.id),history.
replaceState(null,"",p.size?`?${p}`:location.pathname)}function vi(){Ht({title:"You left the call",text:"Your camera and\
 your microphone are off.",again:"Rejoin"})}function yi(n){let e=n.code==="REPLACED";Ht({title:e?"You joined from somewh\
ere else":"The call has ended",text:D(n),again:e?"Join here instead":"Join again"})}var Bt={audio:!0,video:!0};function Ht({
title:n,text:e,again:t}){Bt={audio:E.microphoneOn,video:E.cameraOn},S?.close(),S=null,Qe(),E.stop(),_("session","parlor.\
call"),document.title="Parlor",a("end-title").textContent=n,a("end-text").textContent=e,a("end-rejoin").textContent=t,a(
"end-screen").hidden=!1,a("end-title").focus()}a("end-rejoin").addEventListener("click",async()=>{a("end-screen").hidden=
!0,b.show(),b.busy(!0),await E.open(Bt),await tt({name:T(a("name").value),room:v})});a("end-lobby").addEventListener("cl\
ick",async()=>{a("end-screen").hidden=!0,b.show(),a("join").focus(),await E.open()});addEventListener("pagehide",()=>S?.
close({mayRejoin:!0}));addEventListener("pageshow",({persisted:n})=>n&&location.reload());document.addEventListener("cli\
ck",async({target:n})=>{let e=n.closest("[data-copy-link]");if(!e)return;let t=await ct(Wt()),[s,i]=[e.querySelector(".i\
con"),e.querySelector("span")];if(e.dataset.busy)return;e.dataset.busy="true";let[r,o]=[s,i.textContent];s.replaceWith(G(
t?"check":"alert")),i.textContent=t?"Copied":"Not copied",N(t?"The link is on the clipboard":"The link could not be copi\
ed"),setTimeout(()=>{e.querySelector(".icon").replaceWith(r),i.textContent=o,delete e.dataset.busy},1800)});document.addEventListener(
"keydown",n=>{if(n.target.closest("input, select, textarea")&&n.key!=="Escape"||n.ctrlKey||n.metaKey||n.altKey||n.repeat)
return;let t=n.key.toLowerCase();if(document.querySelector("dialog[open], :popover-open")||t!=="escape"&&!He())return;(S?
S.shortcut(t):!a("lobby").hidden&&b.shortcut(t))&&n.preventDefault()});function Wt(){let n=S?v:a("room").value.trim()||v,
e=M.forTwo?`&protocol=${M.id}`:"";return`${location.origin}${location.pathname}?room=${encodeURIComponent(n)}${e}`}function Yt(){
let n={room:v,name:I("local","parlor.name"),microphone:E.microphoneOn,camera:E.cameraOn};x("session","parlor.call",JSON.
stringify(n))}ui();
