//! Stores for tests: one in memory, and one that misbehaves in front of another.

mod faulty;
mod memory;

pub use faulty::{Fault, FaultyStore};
pub use memory::MemoryStore;
