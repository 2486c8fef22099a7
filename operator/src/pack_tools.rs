//! Gives the store, which knows no git, the two things that it needs done with packs.

