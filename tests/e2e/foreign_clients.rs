//! Clients that are not git. Each is a program of its own under `tests/clients/`; all go through the same stories.

mod dulwich;
mod git;
mod gix;
mod go_git;
mod isomorphic_git;
mod jgit;
mod jj;
mod libgit2;
mod program;
mod running;
mod stories;
mod table;

/// The stories of a client over one transport.
macro_rules! stories_over {
    ($name:ident, $way:expr) => {
        mod $name {
            use crate::foreign_clients::{running::Place, running::Way, stories};

            #[test]
            fn clones_fetches_and_pushes() -> anyhow::Result<()> {
                stories::clones_fetches_and_pushes(&mut Place::new(&super::PROGRAM, $way)?)
            }

            #[test]
            fn fetches_a_part_of_the_history() -> anyhow::Result<()> {
                stories::fetches_a_part_of_the_history(&mut Place::new(&super::PROGRAM, $way)?)
            }

            #[test]
            fn fills_an_empty_repository_with_something_large() -> anyhow::Result<()> {
                stories::fills_an_empty_repository_with_something_large(&mut Place::new(&super::PROGRAM, $way)?)
            }

            #[test]
            fn tells_why_something_is_refused() -> anyhow::Result<()> {
                stories::tells_why_something_is_refused(&mut Place::new(&super::PROGRAM, $way)?)
            }
        }
    };
}
use stories_over;
