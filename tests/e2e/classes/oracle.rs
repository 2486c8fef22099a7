//! Whether something is there, told by the answer or by the time that it takes.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tests::manifests::PASSWORD;
use tests::protocol::RawClient;

use super::{Way, shared};
use crate::ssh::SshBed;

/// Questions about each; the middle one counts.
const QUESTIONS: usize = 50;

/// What carol, who may see nothing, is told about a repository, but for its name, the request's id and the time.
fn told(bed: &SshBed, way: Way, name: &str) -> Result<(String, Duration)> {
    let started = Instant::now();
    let text = match way {
        Way::Http => {
            let client = RawClient::new(bed.bed.server.address(), &format!("team-a/{name}"), Some(("carol", PASSWORD)));
            let response = client.advertisement("git-upload-pack", 0)?;
            let differs = |name: &str| matches!(name, "x-request-id" | "date");
            let headers: Vec<_> = response.headers.iter().filter(|(name, _)| !differs(name)).collect();
            format!("{} {headers:?} {}", response.status, response.text())
        }
        Way::Ssh => {
            let output = shared(bed, "carol", &format!("git-upload-pack '/team-a/{name}'"))?.wait_with_output()?;
            format!("{:?} {:?} {}", output.status.code(), output.stdout, String::from_utf8_lossy(&output.stderr))
        }
    };
    let took = started.elapsed();
    let text = text.split(" (request ").next().unwrap_or_default().replace(name, "NAME");
    Ok((text, took))
}

#[test]
fn missing_and_forbidden_differ_neither_in_words_nor_in_time() -> Result<()> {
    let bed = SshBed::new()?;
    bed.started()?;
    for way in super::WAYS {
        // As long as the one that is there.
        let names = ["hello", "nobdy"];
        let texts = [told(&bed, way, names[0])?.0, told(&bed, way, names[1])?.0];
        ensure!(texts[0] == texts[1] && texts[0].contains("was not found"), "{way:?}: {texts:?}");
        let mut times = [Vec::new(), Vec::new()];
        for _ in 0..QUESTIONS {
            // One after the other, so that a busy moment of the machine is in both.
            for (times, name) in times.iter_mut().zip(names) {
                times.push(told(&bed, way, name)?.1);
            }
        }
        let [there, missing] = times.map(|mut times| {
            times.sort_unstable();
            times[times.len() / 2]
        });
        let (less, more) = (there.min(missing), there.max(missing));
        ensure!(more <= less * 2, "{way:?}: {there:?} when it is there, {missing:?} when it is not");
    }
    Ok(())
}
