use serde::{Deserialize, Serialize};

use super::{seal, unseal};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Content {
    id: String,
    number: u64,
}

#[test]
fn no_flipped_bit_changes_what_is_read() {
    let content = Content { id: "0123456789abcdef".to_owned(), number: 17 };
    let sealed = seal(&content).unwrap();
    assert_eq!(unseal::<Content>(&sealed).as_ref(), Ok(&content));
    for place in 0..sealed.len() {
        for bit in 0..8 {
            let mut bytes = sealed.to_vec();
            bytes[place] ^= 1 << bit;
            // White space may change; what it says may not.
            assert!(unseal::<Content>(&bytes).is_ok_and(|read| read == content) || unseal::<Content>(&bytes).is_err());
        }
    }
    for end in 0..sealed.len() {
        assert!(unseal::<Content>(&sealed[..end]).is_err(), "cut at {end}");
    }
}
