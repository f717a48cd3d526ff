//! Detects whether str0m has decrypted a packet, which proves that it was encrypted with the keys
//! of its client.
//!
//! str0m reports RTP packets, but not SRTCP. So the decrypting ciphers are wrapped and counted.
//! They run only on packets with a valid tag: for AES-CM the tag is compared before, and GCM
//! verifies it itself.
//!
//! Invariant: the count is per thread, and all media of a server runs on one thread.

use std::cell::Cell;
use std::sync::OnceLock;

use str0m::crypto::{
    AeadAes128GcmCipher, AeadAes256GcmCipher, Aes128CmSha1_80Cipher, CryptoError, CryptoProvider,
    SrtpProvider, SupportedAeadAes128Gcm, SupportedAeadAes256Gcm, SupportedAes128CmSha1_80,
};

/// Bytes after the index of an SRTCP packet with AES-CM: its tag (RFC 3711, section 3.4).
const AES_CM_TRAILER: usize = 10;

/// Bytes after the index of an SRTCP packet with GCM: none, its tag precedes the index (RFC 7714,
/// section 9.2).
const GCM_TRAILER: usize = 0;

thread_local! {
    static LATEST: Cell<Decrypted> = const { Cell::new(Decrypted { count: 0, trailer: GCM_TRAILER }) };
}

/// A count of the packets that this thread has decrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Decrypted {
    count: u64,
    /// Bytes after the SRTCP index, for the cipher used last.
    trailer: usize,
}

impl Decrypted {
    pub(super) fn current() -> Self {
        LATEST.get()
    }

    /// Returns the trailer of SRTCP packets for the cipher used last, if a packet was decrypted
    /// since.
    pub(super) fn since(self) -> Option<Trailer> {
        let latest = LATEST.get();
        (latest.count != self.count).then_some(Trailer(latest.trailer))
    }

    fn record(trailer: usize) {
        LATEST.set(Self { count: LATEST.get().count + 1, trailer });
    }
}

/// The number of bytes after the index of SRTCP packets.
#[derive(Debug, Clone, Copy)]
pub(super) struct Trailer(usize);

impl Trailer {
    /// Returns the index of an SRTCP packet, which its sender increments with each packet.
    pub(super) fn index(self, packet: &[u8]) -> Option<u32> {
        let end = packet.len().checked_sub(self.0)?;
        let index = packet.get(end.checked_sub(4)?..end)?;
        index.try_into().ok().map(|index| u32::from_be_bytes(index) & 0x7fff_ffff)
    }
}

/// Returns str0m's crypto provider with ciphers that count what they decrypt.
pub(super) fn provider() -> CryptoProvider {
    CryptoProvider { srtp_provider: &Counting, ..str0m::crypto::from_feature_flags() }
}

fn inner() -> &'static dyn SrtpProvider {
    static INNER: OnceLock<&'static dyn SrtpProvider> = OnceLock::new();
    *INNER.get_or_init(|| str0m::crypto::from_feature_flags().srtp_provider)
}

#[derive(Debug)]
struct Counting;

impl SrtpProvider for Counting {
    fn aes_128_cm_sha1_80(&self) -> &'static dyn SupportedAes128CmSha1_80 {
        &Counting
    }

    fn aead_aes_128_gcm(&self) -> &'static dyn SupportedAeadAes128Gcm {
        &Counting
    }

    fn aead_aes_256_gcm(&self) -> &'static dyn SupportedAeadAes256Gcm {
        &Counting
    }

    fn srtp_aes_128_ecb_round(&self, key: &[u8], input: &[u8], output: &mut [u8]) {
        inner().srtp_aes_128_ecb_round(key, input, output);
    }

    fn srtp_aes_256_ecb_round(&self, key: &[u8], input: &[u8], output: &mut [u8]) {
        inner().srtp_aes_256_ecb_round(key, input, output);
    }
}

/// A cipher that counts the packets it decrypts.
#[derive(Debug)]
struct Counted<Cipher: ?Sized>(Box<Cipher>);

impl SupportedAes128CmSha1_80 for Counting {
    fn create_cipher(&self, key: [u8; 16], encrypt: bool) -> Box<dyn Aes128CmSha1_80Cipher> {
        let cipher = inner().aes_128_cm_sha1_80().create_cipher(key, encrypt);
        if encrypt { cipher } else { Box::new(Counted(cipher)) }
    }
}

impl SupportedAeadAes128Gcm for Counting {
    fn create_cipher(&self, key: [u8; 16], encrypt: bool) -> Box<dyn AeadAes128GcmCipher> {
        let cipher = inner().aead_aes_128_gcm().create_cipher(key, encrypt);
        if encrypt { cipher } else { Box::new(Counted(cipher)) }
    }
}

impl SupportedAeadAes256Gcm for Counting {
    fn create_cipher(&self, key: [u8; 32], encrypt: bool) -> Box<dyn AeadAes256GcmCipher> {
        let cipher = inner().aead_aes_256_gcm().create_cipher(key, encrypt);
        if encrypt { cipher } else { Box::new(Counted(cipher)) }
    }
}

impl Aes128CmSha1_80Cipher for Counted<dyn Aes128CmSha1_80Cipher> {
    fn encrypt(
        &mut self,
        iv: &[u8; 16],
        input: &[u8],
        output: &mut [u8],
    ) -> Result<(), CryptoError> {
        self.0.encrypt(iv, input, output)
    }

    fn decrypt(
        &mut self,
        iv: &[u8; 16],
        input: &[u8],
        output: &mut [u8],
    ) -> Result<(), CryptoError> {
        self.0.decrypt(iv, input, output).inspect(|()| Decrypted::record(AES_CM_TRAILER))
    }
}

macro_rules! counted_gcm {
    ($cipher:ident) => {
        impl $cipher for Counted<dyn $cipher> {
            fn encrypt(
                &mut self,
                iv: &[u8; 12],
                aad: &[u8],
                input: &[u8],
                output: &mut [u8],
            ) -> Result<(), CryptoError> {
                self.0.encrypt(iv, aad, input, output)
            }

            fn decrypt(
                &mut self,
                iv: &[u8; 12],
                aads: &[&[u8]],
                input: &[u8],
                output: &mut [u8],
            ) -> Result<usize, CryptoError> {
                self.0.decrypt(iv, aads, input, output).inspect(|_| Decrypted::record(GCM_TRAILER))
            }
        }
    };
}

counted_gcm!(AeadAes128GcmCipher);
counted_gcm!(AeadAes256GcmCipher);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_packets_with_valid_tag_are_counted() {
        let provider = provider().srtp_provider;
        let (key, iv) = ([1; 16], [2; 12]);
        let mut sealed = [0; 5 + 16];
        let before = Decrypted::current();
        let mut sender = provider.aead_aes_128_gcm().create_cipher(key, true);
        sender.encrypt(&iv, b"the header..", b"hello", &mut sealed).unwrap();
        assert!(before.since().is_none(), "encryption is not counted");
        let mut receiver = provider.aead_aes_128_gcm().create_cipher(key, false);
        let mut opened = [0; 5];
        assert!(receiver.decrypt(&iv, &[b"was forged.."], &sealed, &mut opened).is_err());
        assert!(before.since().is_none());
        receiver.decrypt(&iv, &[b"the header.."], &sealed, &mut opened).unwrap();
        assert_eq!(&opened, b"hello");
        let trailer = before.since().unwrap();
        assert_eq!(trailer.index(&[9, 9, 0x80, 0, 0, 7]), Some(7));
        assert_eq!(trailer.index(&[7]), None);
    }

    #[test]
    fn index_of_srtcp_precedes_the_tag_of_aes_cm() {
        let before = Decrypted::current();
        let mut receiver =
            provider().srtp_provider.aes_128_cm_sha1_80().create_cipher([1; 16], false);
        receiver.decrypt(&[0; 16], &[0; 4], &mut [0; 4 + 15]).unwrap();
        let mut packet = vec![0x80, 0, 1, 0];
        packet.resize(14, 0xff);
        assert_eq!(before.since().unwrap().index(&packet), Some(256));
    }
}
