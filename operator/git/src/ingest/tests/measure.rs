//! Not a test: measures an ingest of the pack named by `CODEKEEP_PACK`.

use std::{fs::File, time::Instant};

use super::*;

#[test]
#[ignore = "a measurement of a pack that is not part of the repository"]
fn measure() {
    let Some(path) = std::env::var_os("CODEKEEP_PACK") else { return };
    let mut input = BufReader::with_capacity(1 << 16, File::open(path).unwrap());
    let mut quarantine = Quarantine::new(&std::env::temp_dir());
    let start = Instant::now();
    let stop = AtomicBool::new(false);
    let done = ingest(&mut input, &mut quarantine, &alone(&stop), &mut |_| {});
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let memory: Vec<_> = status.lines().filter(|line| line.starts_with("VmHWM") || line.starts_with("VmRSS")).collect();
    match done {
        Ok(done) => println!(
            "{} objects, {} bytes, {:?}, {memory:?}, links out {}, unreferenced {}",
            done.objects,
            done.bytes,
            start.elapsed(),
            done.links_out.len(),
            done.unreferenced.len(),
        ),
        Err(error) => println!("{error} after {:?}, {memory:?}", start.elapsed()),
    }
}
