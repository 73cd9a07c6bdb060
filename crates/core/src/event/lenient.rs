//! Reads members of events leniently: other versions, and other programs, may have written them.

use serde::{Deserialize as _, Deserializer, de::DeserializeOwned};
use serde_json::Value;

/// Reads a member; one of the wrong type counts as absent.
pub(super) fn lenient<'de, D: Deserializer<'de>, T: DeserializeOwned + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(T::deserialize(Value::deserialize(deserializer)?).unwrap_or_default())
}

/// Tells whether a member is left out when it is written.
pub(super) fn is_absent<T: Default + PartialEq>(member: &T) -> bool {
    *member == T::default()
}
