/**
 * React hooks for calls over a Parlor server: `useRoom` joins, `usePeers` lists the others, `useTrack` follows one of their tracks.
 *
 * @module index
 */
import { uuid } from "@parlor/client/uuid";
import { useCallback, useEffect, useMemo, useRef, useState, useSyncExternalStore } from "react";
import { RoomStore } from "./store.js";

/** The store of components that are in no room. */
const NO_ROOM = new RoomStore();

/**
 * Joins a room while the component is mounted, and leaves it afterwards. See `index.d.ts` for the options.
 * @param {string | null | undefined} roomId none: joins nothing
 * @param {object} [options]
 */
export function useRoom(roomId, options = {}) {
  const { url = "/", name, token, tracks } = options;
  const ownId = useRef(null);
  ownId.current ??= uuid();
  const userId = options.userId ?? ownId.current;
  const latest = useRef(options);
  useEffect(() => {
    latest.current = options;
  });

  const [store, setStore] = useState(NO_ROOM);
  useEffect(() => {
    if (!roomId) return undefined;
    const opened = new RoomStore();
    setStore(opened);
    opened.open(roomId, { ...latest.current, url, userId, name });
    return () => {
      opened.close();
      setStore(NO_ROOM);
    };
  }, [roomId, url, userId, name]);

  const { audio = null, video = null } = tracks ?? {};
  useEffect(() => store.send({ audio, video }), [store, audio, video]);
  // A newer token extends the session instead of joining again.
  useEffect(() => {
    if (token) store.signaling?.renew(token).catch(() => {});
  }, [store, token]);

  const { status, error, speaker } = useSyncExternalStore(store.subscribe, store.state, NO_ROOM.state);
  const leave = useCallback(() => store.close(), [store]);
  return useMemo(
    () => ({ roomId, userId, status, error, speaker, leave, store, signaling: store.signaling, call: store.call }),
    [roomId, userId, status, error, speaker, leave, store],
  );
}

/**
 * Returns the other members of a room. The array and its entries are replaced when they change.
 * @param {{ store: RoomStore }} room from `useRoom`
 */
export function usePeers({ store }) {
  return useSyncExternalStore(store.subscribe, store.peers, NO_ROOM.peers);
}

/**
 * Returns a track of a peer, or null while there is none, or while it is muted by its sender or the network.
 * @param {{ audio: MediaStreamTrack | null, video: MediaStreamTrack | null } | null | undefined} peer from `usePeers`
 * @param {"audio" | "video"} kind
 */
export function useTrack(peer, kind) {
  const track = peer?.[kind] ?? null;
  const subscribe = useCallback(
    (listener) => {
      const names = ["mute", "unmute", "ended"];
      for (const name of names) track?.addEventListener(name, listener);
      return () => {
        for (const name of names) track?.removeEventListener(name, listener);
      };
    },
    [track],
  );
  const isLive = useSyncExternalStore(subscribe, () => !!track && !track.muted && track.readyState === "live", () => false);
  return isLive ? track : null;
}
