//! Round trips, ranges, and everything that must not decrypt.

use proptest::prelude::*;

use super::*;

const NAME: &str = "8b7c/log/00000000000000000001";

fn header() -> Header {
    Header { key: 1, salt: [3; 32] }
}

fn cipher(name: &str) -> Cipher {
    Cipher::new(&DataKey::new([7; 32]), header(), name)
}

fn sealed(plain: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    cipher(NAME).seal(&mut &*plain, &mut bytes).expect("sealed");
    bytes
}

/// Decrypts a range, given in pieces.
fn opened(cipher: Cipher, sealed: &[u8], range: Range<u64>, size: u64, piece: usize) -> Result<Vec<u8>, FormatError> {
    let (at, _) = sealed_range(&range, size);
    let (start, end) = (usize::try_from(at.start).expect("small"), usize::try_from(at.end).expect("small"));
    let (mut opener, mut plain) = (Opener::new(cipher, range, size), Vec::new());
    for piece in sealed[start..end.min(sealed.len())].chunks(piece) {
        opener.push(piece, &mut plain)?;
    }
    if opener.is_done() { Ok(plain) } else { Err(FormatError::Forged) }
}

fn pattern(size: usize) -> Vec<u8> {
    (0..size).map(|at| u8::try_from(at % 251).expect("small")).collect()
}

const SIZES: [usize; 8] =
    [0, 1, 100, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 2 * CHUNK_BYTES, 3 * CHUNK_BYTES + 5];

#[test]
fn every_size_comes_back_whole_and_as_long_as_foretold() {
    for size in SIZES {
        let (plain, length) = (pattern(size), size as u64);
        let bytes = sealed(&plain);
        assert_eq!((bytes.len() as u64, plain_size(bytes.len() as u64)), (sealed_size(length), Some(length)));
        assert_eq!(Header::decode(&bytes), Ok(header()));
        assert_eq!(opened(cipher(NAME), &bytes, 0..length, length, 10_000), Ok(plain), "{size}");
    }
}

#[test]
fn no_other_length_is_that_of_an_object() {
    let lengths: Vec<u64> = (0..=2 * CHUNK + 100).map(sealed_size).collect();
    assert!(lengths.is_sorted());
    let possible = |length: &u64| lengths.binary_search(length).is_ok();
    for length in 0..*lengths.last().expect("some") {
        assert_eq!(plain_size(length).is_some(), possible(&length), "{length}");
    }
}

#[test]
fn other_names_keys_orders_and_lengths_do_not_decrypt() {
    let (size, plain) = (3 * CHUNK, pattern(3 * CHUNK_BYTES));
    let bytes = sealed(&plain);
    let whole = |cipher, bytes: &[u8], size| opened(cipher, bytes, 0..size, size, usize::MAX);
    assert!(whole(cipher(NAME), &bytes, size).is_ok());
    assert_eq!(whole(cipher("8b7c/log/00000000000000000002"), &bytes, size), Err(FormatError::Forged));
    let other_key = Cipher::new(&DataKey::new([8; 32]), header(), NAME);
    assert_eq!(whole(other_key, &bytes, size), Err(FormatError::Forged));
    let other_header = Cipher::new(&DataKey::new([7; 32]), Header { key: 2, ..header() }, NAME);
    assert_eq!(whole(other_header, &bytes, size), Err(FormatError::Forged));
    // The last chunk is missing, and the size was said to be smaller.
    let cut = usize::try_from(sealed_size(2 * CHUNK)).expect("small");
    assert_eq!(whole(cipher(NAME), &bytes[..cut], 2 * CHUNK), Err(FormatError::Forged));
    let mut swapped = bytes.clone();
    let chunk = usize::try_from(SEALED_CHUNK).expect("small");
    let (first, second) = swapped[48..].split_at_mut(chunk);
    first.swap_with_slice(&mut second[..chunk]);
    assert_eq!(whole(cipher(NAME), &swapped, size), Err(FormatError::Forged));
}

#[test]
fn two_writings_of_the_same_have_nothing_in_common() {
    let plain = pattern(500);
    let other = Cipher::new(&DataKey::new([7; 32]), Header { key: 1, salt: [4; 32] }, NAME);
    let mut again = Vec::new();
    other.seal(&mut &*plain, &mut again).expect("sealed");
    let first = sealed(&plain);
    let equal = first[48..].iter().zip(&again[48..]).filter(|(a, b)| a == b).count();
    assert!(equal < 20, "{equal} of 516 bytes are equal, 2 are to be expected");
}

#[test]
fn what_is_plain_is_not_taken_for_encrypted() {
    for bytes in [&b""[..], b"CKENV", b"CKLOG\0\0\x01 and much more than a header has of bytes", &[0; 100]] {
        assert_eq!(Header::decode(bytes), Err(FormatError::Foreign));
    }
}

proptest! {
    #[test]
    fn any_range_in_any_pieces(size in 0_usize..200_000, from in 0.0..1.0, to in 0.0..1.0, piece in 1_usize..100_000) {
        let length = size as u64;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a part of a small size")]
        let at = |part: f64| (size as f64 * part) as u64;
        let range = at(f64::min(from, to))..at(f64::max(from, to));
        let plain = pattern(size);
        let wanted = plain[usize::try_from(range.start)?..usize::try_from(range.end)?].to_vec();
        let found = opened(cipher(NAME), &sealed(&plain), range, length, piece.max(1_000));
        prop_assert_eq!(found, Ok(wanted));
    }

    #[test]
    fn a_byte_that_changed_is_noticed(size in 0_usize..200_000, at in 0.0..1.0, bit in 0_u8..8) {
        let mut bytes = sealed(&pattern(size));
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a part of a small size")]
        let at = ((bytes.len() - 48) as f64 * at) as usize + 48;
        bytes[at] ^= 1 << bit;
        prop_assert_eq!(opened(cipher(NAME), &bytes, 0..size as u64, size as u64, 70_000), Err(FormatError::Forged));
    }
}
