//! Tests of the whole: real files, real processes. One binary, a module for each part.

mod store;
