use super::{Band, Writer};
use crate::pktline::{Packet, ReadLimits, Reader};

fn split(stream: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut input = stream;
    let mut reader = Reader::new(&mut input, ReadLimits::default());
    let mut frames = Vec::new();
    while let Some(packet) = reader.read().unwrap() {
        match packet {
            Packet::Data(frame) => frames.push((frame[0], frame[1..].to_vec())),
            Packet::Flush => frames.push((0, Vec::new())),
            other => panic!("{other:?}"),
        }
    }
    frames
}

#[test]
fn small_writes_become_full_frames_and_progress_keeps_its_place() {
    let mut out = Vec::new();
    let mut writer = Writer::new(&mut out, Band::Large, false);
    let data: Vec<u8> = (0..300_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    for part in data.chunks(77) {
        writer.data(part).unwrap();
    }
    writer.progress("half\n").unwrap();
    writer.copy(&mut &*data, data.len() as u64, &mut |_| ()).unwrap();
    let written = writer.finish().unwrap();
    assert_eq!(written, out.len() as u64, "every byte is counted");
    let frames = split(&out);
    let received: Vec<u8> = frames.iter().filter(|frame| frame.0 == 1).flat_map(|frame| frame.1.clone()).collect();
    assert_eq!(received, [data.clone(), data].concat());
    assert_eq!(frames.iter().position(|frame| frame.0 == 2), Some(5), "five frames hold 300,000 bytes");
    assert_eq!(frames.last().unwrap().0, 0, "a flush packet ends the stream");
}

#[test]
fn without_channels_only_data_is_sent() {
    let mut out = Vec::new();
    let mut writer = Writer::new(&mut out, Band::None, false);
    writer.data(b"ab").unwrap();
    writer.progress("lost\n").unwrap();
    writer.data(b"cd").unwrap();
    writer.finish().unwrap();
    assert_eq!(out, b"abcd");
}

#[test]
fn small_frames_have_at_most_a_thousand_bytes() {
    let mut out = Vec::new();
    let mut writer = Writer::new(&mut out, Band::Small, false);
    writer.data(&[7; 5_000]).unwrap();
    writer.finish().unwrap();
    assert!(split(&out).iter().all(|frame| frame.1.len() <= 995), "five bytes of each are its head");
}
