//! The operating system, once: what every crate above needs of files, locks, programs and identities, and no rule.
//!
//! Knows nothing of tasks, roles or agents, and uses nothing of ours. Start reading at [`files`], the only door to
//! files that others may have written.
//!
//! | module | answers for |
//! |---|---|
//! | [`files`] | files below a root, opened without following links; written whole; private directories |
//! | [`lock`] | flocks with a deadline, and who holds one |
//! | [`identity`] | processes by number and start time, boots, machines |
//! | [`command`] | waiting for a program with a deadline, ending its group, its output |
//! | [`socket`] | one line asked, one answered, between processes of one user |
//! | [`tail`] | the last lines of a file |
//! | [`project`] | directories told apart, also after a rename or a copy |
//! | [`descriptors`] | what programs that we start inherit |

#![cfg_attr(not(test), deny(clippy::disallowed_methods, reason = "files are opened by sys::files"))]

pub mod command;
pub mod descriptors;
#[expect(clippy::disallowed_methods, reason = "it is the door")]
pub mod files;
pub mod identity;
pub mod lock;
pub mod project;
pub mod socket;
pub mod tail;
