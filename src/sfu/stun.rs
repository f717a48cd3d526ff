//! Reads the ufrag of a STUN binding request (RFC 8489) without parsing the whole message.

/// Magic cookie of every STUN message.
const COOKIE: [u8; 4] = 0x2112_a442_u32.to_be_bytes();

const HEADER: usize = 20;

/// Attribute type of USERNAME.
const USERNAME: u16 = 0x0006;

/// Returns the server's ufrag in a binding request: USERNAME up to its colon (RFC 8445, section
/// 7.2.2). Returns `None` if the datagram is not a binding request. Checks neither FINGERPRINT nor
/// MESSAGE-INTEGRITY.
pub(super) fn local_ufrag(datagram: &[u8]) -> Option<&[u8]> {
    let [0, 1, _, _, cookie @ ..] = datagram else { return None };
    if !cookie.starts_with(&COOKIE) {
        return None;
    }
    let mut rest = datagram.get(HEADER..)?;
    loop {
        let [kind_high, kind_low, length_high, length_low, value @ ..] = rest else { return None };
        let length = usize::from(u16::from_be_bytes([*length_high, *length_low]));
        if u16::from_be_bytes([*kind_high, *kind_low]) == USERNAME {
            let username = value.get(..length)?;
            let colon = username.iter().position(|byte| *byte == b':')?;
            return username.get(..colon);
        }
        rest = value.get(length.next_multiple_of(4)..)?;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(kind: u8, attributes: &[u8]) -> Vec<u8> {
        let length = u8::try_from(attributes.len()).unwrap();
        [&[0, kind, 0, length][..], &COOKIE, &[7; 12], attributes].concat()
    }

    #[test]
    fn local_ufrag_is_what_precedes_the_colon_in_username() {
        let good = b"\x80\x22\0\x03abc\0\0\x06\0\x05me:it\0\0\0";
        assert_eq!(local_ufrag(&message(1, good)), Some(&b"me"[..]));
        assert_eq!(local_ufrag(&message(2, good)), None, "not a binding request");
        assert_eq!(local_ufrag(&message(1, b"\0\x06\0\x05meit\0\0\0\0")), None, "no colon");
        assert_eq!(
            local_ufrag(&message(1, b"\0\x06\0\x09me:it\0\0\0")),
            None,
            "length beyond the end"
        );
        assert_eq!(local_ufrag(&message(1, b"\x80\x22\xff\xff")), None);
        assert_eq!(local_ufrag(&message(1, b"")), None);
        let mut other = message(1, good);
        other[4] ^= 1;
        assert_eq!(local_ufrag(&other), None, "another cookie");
    }

    proptest! {
        #[test]
        fn local_ufrag_never_panics(attributes in proptest::collection::vec(any::<u8>(), 0..60)) {
            local_ufrag(&message(1, &attributes));
            local_ufrag(&attributes);
        }
    }
}
