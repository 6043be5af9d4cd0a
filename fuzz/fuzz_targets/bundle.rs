//! The end of a bundle of any bytes; and any members, written and read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use walferry::ltx::{Timestamp, Txid};
use walferry::replica::{BundleEnd, BundleWriter, Level, SegmentId, bundle_end};

fuzz_target!(|bytes: &[u8]| {
    let Some((size, tail)) = bytes.split_first_chunk() else {
        return;
    };
    let size = (tail.len() as u64).saturating_add(u64::from(u16::from_be_bytes(*size)));
    let any = SegmentId::new(Level::HISTORY, Txid(1), Txid(u64::MAX)).unwrap();
    match bundle_end(tail, any, size) {
        Ok(BundleEnd::Need(need)) => assert!(need > tail.len() as u64 && need <= size),
        Ok(BundleEnd::Members(members)) => assert!(members.is_sorted_by_key(|member| member.id.min)),
        Err(_) => {}
    }

    let mut writer = BundleWriter::default();
    let mut end = BundleWriter::magic().len() as u64;
    for entry in bytes.as_chunks::<32>().0 {
        let [min, max, size, time] = entry.as_chunks::<8>().0 else {
            return;
        };
        let number = |bytes: &[u8; 8]| u64::from_be_bytes(*bytes);
        let added = writer.add(
            Txid(number(min)),
            Txid(number(max)),
            number(size),
            Timestamp(number(time) as i64),
        );
        if added.is_ok() {
            end += number(size);
        }
    }
    let Some(id) = writer.id() else { return };
    let tail = writer.finish();
    let Some(size) = end.checked_add(tail.len() as u64) else {
        return;
    };
    let read = bundle_end(&tail, id, size).unwrap();
    assert_eq!(read, BundleEnd::Members(writer.members().to_vec()));
});
