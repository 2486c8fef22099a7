//! The table in the documentation says what the stories measure.

use anyhow::{Context as _, Result, ensure};
use tests::binary::workspace;

use super::program::{Feature, Program};
use super::{dulwich, git, gix, go_git, isomorphic_git, jgit, jj, libgit2};

const ALL: [&Program; 8] = [
    &git::PROGRAM,
    &dulwich::PROGRAM,
    &libgit2::PROGRAM,
    &go_git::PROGRAM,
    &isomorphic_git::PROGRAM,
    &jgit::PROGRAM,
    &gix::PROGRAM,
    &jj::PROGRAM,
];
const COLUMNS: [Feature; 10] = [
    Feature::PlainHttp,
    Feature::Ssh,
    Feature::List,
    Feature::Push,
    Feature::Tags,
    Feature::SeveralRefs,
    Feature::EmptyClone,
    Feature::Depth,
    Feature::Deepen,
    Feature::Filter,
];

#[test]
fn the_documentation_has_the_limits_that_the_stories_measure() -> Result<()> {
    let text =
        std::fs::read_to_string(workspace().join("docs/clients.md")).context("failed to read docs/clients.md")?;
    for program in ALL {
        let cells = COLUMNS.map(|feature| if program.can(feature) { "yes" } else { "no" });
        let row = format!("| {} {} | {} |", program.name, program.version, cells.join(" | "));
        ensure!(text.contains(&row), "docs/clients.md has no line\n{row}");
        let pin = std::fs::read_to_string(workspace().join(program.pinned_in))?;
        ensure!(pin.contains(program.version), "{} is another one in {}", program.name, program.pinned_in);
    }
    Ok(())
}
