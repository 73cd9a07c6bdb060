//! What a command works with: where it prints, and the project that it is about.

use std::path::PathBuf;

use super::ui::Ui;
use oodatcaa_core::{Workflow, event::Actor};
use oodatcaa_ops::{Failure, Project};
use oodatcaa_store::Reading;

/// The surroundings of one command.
pub struct Context {
    /// Where it prints.
    pub ui: Ui,
    /// What it is about.
    pub project: Project,
    warned: std::cell::Cell<bool>,
}

impl Context {
    /// Returns the surroundings for the project that was named, or the one around the working directory.
    pub fn new(ui: Ui, project: Option<PathBuf>) -> Self {
        Self { ui, project: Project::new(project), warned: std::cell::Cell::default() }
    }

    /// Returns the table of roles; warns once where the shipped one stands in for a broken configuration.
    pub fn workflow(&self) -> &Workflow {
        let workflow = self.project.workflow();
        if let Some(broken) = &workflow.policy().broken
            && !self.warned.replace(true)
        {
            self.ui.warn(&format!("{broken}; the shipped roles are shown"));
        }
        workflow
    }

    /// Reads what stands there now; warns where it is the last good content of a broken queue file.
    pub fn read(&self) -> Result<Reading, Failure> {
        let reading = self.project.read()?;
        if let Some(invalid) = &reading.invalid {
            self.ui.warn(&format!("the queue file cannot be read, this is its last good content: {invalid}"));
        }
        Ok(reading)
    }

    /// Tells who asks.
    pub fn actor(&self) -> Actor {
        self.project.actor()
    }
}
