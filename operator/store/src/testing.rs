//! Stores for tests: one in memory, and one that misbehaves in front of another; and ways to make the store itself misbehave.

mod faulty;
mod memory;
mod sabotage;
mod spy;

pub use faulty::{Fault, FaultyStore};
pub use memory::MemoryStore;
pub(crate) use sabotage::asked;
pub use sabotage::{Sabotage, sabotage};
pub use spy::{nonces, revealed};
