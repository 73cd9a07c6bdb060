//! What an attempt used up and made, as its last event says it.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Event, EventDraft};

/// What an attempt used up, as far as it is known; what is not known is not 0.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens that the model read, those from its cache included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_in: Option<u64>,
    /// Tokens that the model wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_out: Option<u64>,
    /// How many of the tokens read came from its cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cached: Option<u64>,
    /// The price as the agent reported it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_usd: Option<f64>,
    /// Turns of the conversation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turns: Option<u32>,
    /// The session's name, by which it can be resumed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// How long it took on the wall clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// The commit at which the branch of the work stood when it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<String>,
    /// Of a merge, the commit that brought it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// The tag on a merge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// When the window of its account ends, as the provider said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resets_at: Option<DateTime<Utc>>,
    /// The branch of the work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
}

impl Usage {
    /// Notes everything that is known on an event.
    pub(crate) fn on(&self, event: EventDraft) -> EventDraft {
        let known = serde_json::to_value(self).unwrap_or_default();
        let known = known.as_object().cloned().unwrap_or_default();
        known.into_iter().fold(event, |event, (key, value)| event.with(&key, value))
    }

    /// Reads them back from an event of the journal.
    pub fn of(event: &Event) -> Self {
        serde_json::from_value(Value::Object(event.data.clone())).unwrap_or_default()
    }
}
