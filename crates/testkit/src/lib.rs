//! What stands in for the outside in tests and in the demonstration: an agent without a model, and a provider of models
//! on the loopback.
//!
//! Nothing here does any work of a fleet. [`sim`] is the program `agent-sim`, which the fleet runs like every other
//! agent; [`endpoint`] answers real agents' programs as their providers do, from a script.

pub mod endpoint;
pub mod sim;
