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

/// Makes a structure whose members are read leniently, and left out where they are absent; those behind `with` are
/// structures whose members stand among the others.
macro_rules! members {
    ($(#[$about:meta])* $name:ident { $($(#[$said:meta])* $field:ident: $type:ty,)* }
     $(with { $($(#[$what:meta])* $more:ident: $more_type:ty,)* })?) => {
        $(#[$about])*
        #[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(default)]
        pub struct $name {
            $(
                $(#[$said])*
                #[serde(
                    deserialize_with = "crate::event::lenient::lenient",
                    skip_serializing_if = "crate::event::lenient::is_absent"
                )]
                pub $field: $type,
            )*
            $($(
                $(#[$what])*
                #[serde(flatten)]
                pub $more: $more_type,
            )*)?
        }
    };
}

pub(super) use members;
