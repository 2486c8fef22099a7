use proptest::prelude::*;

use super::{MAX_PAYLOAD, Packet, PacketError, ReadLimits, Reader, error_line, push};

fn read_all(mut input: &[u8], limits: ReadLimits) -> Result<Vec<Option<Vec<u8>>>, PacketError> {
    let mut reader = Reader::new(&mut input, limits);
    let mut packets = Vec::new();
    while let Some(packet) = reader.read()? {
        packets.push(match packet {
            Packet::Data(data) => Some(data.to_vec()),
            _ => None,
        });
    }
    Ok(packets)
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..2_000), 0..20)) {
        let mut wire = Vec::new();
        for payload in &payloads {
            push(&mut wire, &[payload]);
        }
        let read = read_all(&wire, ReadLimits::default()).unwrap();
        prop_assert_eq!(read, payloads.into_iter().map(Some).collect::<Vec<_>>());
    }

    #[test]
    fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = read_all(&bytes, ReadLimits::default());
    }

    #[test]
    fn almost_right_input_never_panics(bytes in "[0-9a-g]{0,64}") {
        let _ = read_all(bytes.as_bytes(), ReadLimits::default());
    }
}

#[test]
fn bad_lengths_are_named() {
    for bad in ["0003", "fff1", "ffff", "00g0", "+004", " 004"] {
        assert!(matches!(read_all(bad.as_bytes(), ReadLimits::default()), Err(PacketError::Length(_))), "{bad}");
    }
}

#[test]
fn a_cut_packet_is_truncated() {
    for bad in ["0", "000", "0005", "0009abc"] {
        assert!(matches!(read_all(bad.as_bytes(), ReadLimits::default()), Err(PacketError::Truncated)), "{bad}");
    }
}

#[test]
fn limits_hold() {
    let limits = ReadLimits { packets: 2, bytes: 10 };
    assert!(matches!(read_all(b"000000000000", limits), Err(PacketError::TooLong(_))), "three packets");
    assert!(matches!(read_all(b"0007abc0008abcd", limits), Err(PacketError::TooLong(_))), "fifteen bytes");
}

#[test]
fn a_payload_of_the_greatest_length_fits() {
    let mut wire = Vec::new();
    push(&mut wire, &[&vec![1; MAX_PAYLOAD]]);
    assert_eq!(&wire[..4], b"fff0");
    assert_eq!(read_all(&wire, ReadLimits::default()).unwrap().len(), 1);
}

#[test]
fn an_error_is_one_line() {
    assert_eq!(error_line("a\nb"), b"000cERR a b\n");
}
