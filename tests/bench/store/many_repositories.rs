//! B8: small pushes spread over many repositories.

use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use anyhow::Result;
use tests::report::say;

use super::writers::{Branch, Load, Window, push_for};
use super::{Bed, REPOSITORIES, Servers, small};
use crate::figures::{Figures, each, middle, ms, spread};
use crate::pushes::{self, Chain};
use crate::side::Side;

/// Clients.
const CLIENTS: usize = 16;
/// Longest chain that is made; every repository gets the same.
const STEPS: usize = 400;

pub(crate) fn compared(bed: &Bed<'_>, servers: &Servers, figures: &mut Figures) -> Result<()> {
    let base = bed.main(&bed.tiny)?;
    let chain = pushes::make(&bed.git, &bed.tiny, &base, 1, STEPS)?.remove(0);
    let sides = servers.sides();
    let groups = sides.each_ref().map(|side| groups(side, &chain));
    let mut windows = [vec![], vec![], vec![]];
    for round in 0..=bed.options.rounds {
        for (at, side) in sides.iter().enumerate() {
            let window = push_for(side, &groups[at], Load { length: bed.window(), advertise: false })?;
            say(format!("{}: {:.0} pushes/s", side.name, window.rate()));
            if round > 0 {
                windows[at].push(window);
            }
        }
    }
    let rows: Vec<_> = sides.iter().zip(&windows).map(|(side, windows)| row(side.name, windows)).collect();
    let header = ["1,000 repositories, 16 clients", "pushes/s", "p50 / p99", "CPU per push", "clients' CPU per push"];
    figures.table(&header, &rows);
    let rate = middle(windows[0].iter().map(Window::rate).collect());
    figures.bar("B8", "1,000 repositories, pushes/s", &format!("{rate:.0}/s"), "≥ 500/s", rate >= 500.0);
    Ok(())
}

fn groups<'a>(side: &Side<'_>, chain: &'a Chain) -> Vec<Vec<Branch<'a>>> {
    let branch = |number| Branch {
        repository: side.repository(&small(number)),
        name: "refs/heads/bench/0".to_owned(),
        chain,
        done: AtomicUsize::new(0),
    };
    (0..CLIENTS).map(|client| (client..REPOSITORIES).step_by(CLIENTS).map(branch).collect()).collect()
}

fn row(name: &str, windows: &[Window]) -> Vec<String> {
    let latencies: Vec<Duration> = windows.iter().flat_map(|window| window.latencies.iter().copied()).collect();
    let (server, client) = windows.iter().fold((Duration::ZERO, Duration::ZERO), |(server, client), window| {
        (server + window.server_cpu, client + window.client_cpu)
    });
    vec![
        name.to_owned(),
        format!("{:.0}", middle(windows.iter().map(Window::rate).collect())),
        spread(&latencies),
        ms(each(server, latencies.len())),
        ms(each(client, latencies.len())),
    ]
}
