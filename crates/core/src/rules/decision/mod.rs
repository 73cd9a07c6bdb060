//! Questions to a human: when they are asked, what they hold, and what a human's word does.
//!
//! A decision is a record in the journal and nowhere else ([`crate::state::decisions`]). It resolves by a human's word
//! or by its declared deadline, and then by its declared default, which is to deny. What it was about may
//! change meanwhile; then it is withdrawn and, where still needed, asked again.

mod answer;
mod ask;
mod hold;
#[cfg(test)]
mod tests;

pub use answer::{Refusal, Word, find, pinned, resolve};
pub(super) use ask::question;
pub use ask::{ask, moved, options, tidy};
pub use hold::{Approved, Hold, approved_commit, hold, open_for};
