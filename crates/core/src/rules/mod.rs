//! The rules: each looks at a snapshot and answers with a change set.

pub mod budget;
pub mod children;
pub mod claim;
pub mod coordinate;
pub mod decision;
pub mod deed;
pub mod external_edits;
pub mod handoff;
pub mod hours;
pub mod landing;
pub mod mail;
pub mod manual;
pub mod pool;
mod question;
pub mod rescue;
pub mod schedule;
pub mod settle;
mod starts;
pub mod succession;
pub mod supervise;
