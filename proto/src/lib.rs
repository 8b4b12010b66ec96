//! The gRPC interfaces of Image Manager, generated from `proto/image_manager/v1/*.proto`.
//!
//! A new message or field belongs in those files, with a comment: `make docs` writes docs/protocol.md from them. One
//! that is taken away leaves its number `reserved`.

use std::fmt::{Display, Write as _};

/// Package `image_manager.v1`: the agents' gateway and the control service.
pub mod v1 {
    #![expect(
        clippy::pedantic,
        clippy::large_enum_variant,
        reason = "generated code; its documentation is in the .proto files"
    )]
    tonic::include_proto!("image_manager.v1");
}

pub mod json;

/// Length of the nonce in a [`v1::Challenge`], in bytes.
pub const NONCE: usize = 32;

/// What an agent signs in its [`v1::Proof`]: `fingerprint` is that of the manager's certificate, in lower-case
/// hexadecimal digits. Each part has its length in front, so no two sets of parts give the same bytes.
#[must_use]
pub fn proof_message(nonce: &[u8], fingerprint: &str, build_id: &str) -> Vec<u8> {
    let mut message = Vec::new();
    for part in
        [b"image-manager agent proof 1".as_slice(), nonce, fingerprint.as_bytes(), build_id.as_bytes()]
    {
        // Everything here is short; a length that did not fit would make a proof that nobody accepts.
        message.extend_from_slice(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
        message.extend_from_slice(part);
    }
    message
}

/// Bytes as lower-case hexadecimal digits: the form of every hash, fingerprint and key that is written down or told.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A number of things for people: "1 check", "4 checks".
#[must_use]
pub fn counted<N: Copy + Display + PartialEq + From<u8>>(number: N, noun: &str) -> String {
    let plural = if number == N::from(1) { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

/// A share for people, of 0 to 1: "100%", "99.6%". Only what is whole is told as whole.
#[must_use]
pub fn percent(share: f64) -> String {
    let tenths = (share * 1000.0).round() / 10.0;
    // All but one of many are not all, and one of many is not none.
    let tenths = if share < 1.0 { tenths.min(99.9) } else { tenths };
    let tenths = if share > 0.0 { tenths.max(0.1) } else { tenths };
    if tenths.fract() == 0.0 { format!("{tenths:.0}%") } else { format!("{tenths:.1}%") }
}

/// The encoded `FileDescriptorSet` of all interfaces with their comments, for server reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

#[cfg(test)]
mod tests {
    use super::{counted, hex, percent};

    #[test]
    fn shares_are_told_with_a_tenth_where_it_matters() {
        let told = [0.0, 0.5, 0.952, 0.9996, 1.0, 0.0001].map(percent);
        assert_eq!(told, ["0%", "50%", "95.2%", "99.9%", "100%", "0.1%"]);
    }

    #[test]
    fn only_one_is_no_plural() {
        assert_eq!(
            [0_usize, 1, 2].map(|number| counted(number, "check")),
            ["0 checks", "1 check", "2 checks"]
        );
    }

    #[test]
    fn bytes_are_two_lower_case_digits_each() {
        assert_eq!(hex(&[0, 255, 16, 0xab]), "00ff10ab");
        assert_eq!(hex(&[]), "");
    }
}
