//! What every backend promises, asked of the folder and of a real S3 server, also when the way between loses things.

mod check;
mod contract;
mod faults;
mod fixture;
mod negative;
mod proof;
