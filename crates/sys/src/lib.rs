//! The operating system, once: what every floor above needs of files, locks and identities, and no rule.
//!
//! Knows nothing of tasks, roles or agents, and uses nothing of ours. Start reading at [`files`].

#![cfg_attr(not(test), deny(clippy::disallowed_methods, reason = "files are opened by sys::files"))]

pub mod descriptors;
#[expect(clippy::disallowed_methods, reason = "it is the door")]
pub mod files;
pub mod locks;
pub mod project;
