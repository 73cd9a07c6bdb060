//! The members of a queue file outside of its tasks: the sprint read, and what we set of them spliced in.

use std::{borrow::Cow, collections::BTreeMap};

use serde_json::Value;

use super::{
    Document, body,
    json::{self, Member, Span},
    says,
    splice::Splice,
    style::{self, Style},
    value::time,
};
use oodatcaa_core::sprint::{Head, Place, Sprint};

/// Reads what a file says of its sprint. What cannot be understood counts as absent: it stops nobody's work.
pub(super) fn read(members: &[Member<'_>], metadata: &[Member<'_>], has_metadata: bool) -> Sprint {
    let text = |members: &[Member<'_>], key: &str| {
        let value = json::last(members, key)?.value;
        value.starts_with('"').then(|| json::unquoted(value).into_owned()).filter(|text| !text.trim().is_empty())
    };
    let moment = |key: &str| time(json::last(metadata, key)?.value).ok().flatten();
    let number = json::last(members, Head::Number.as_str()).map(|member| match member.value.starts_with('"') {
        true => json::unquoted(member.value),
        false => Cow::Borrowed(member.value),
    });
    let parsed = number.as_deref().and_then(|number| number.trim().parse().ok());
    // A sprint that is named, not counted, has its name there.
    let named = || text(members, Head::Number.as_str()).filter(|_| parsed.is_none());
    Sprint {
        number: parsed,
        id: text(members, Head::Id.as_str()).or_else(|| text(metadata, Head::Id.as_str())).or_else(named),
        status: text(members, Head::Status.as_str()),
        goal: text(metadata, Head::Goal.as_str()),
        created: moment("created"),
        completed_at: moment(Head::CompletedAt.as_str()),
        told_again: text(metadata, Head::ToldAgain.as_str()),
        has_metadata,
    }
}

impl Document {
    /// Sets members of the file and of its `metadata`; one that is not there is added at the end.
    pub(super) fn set_head(&self, head: &BTreeMap<Head, Value>, ascii: bool, splices: &mut Vec<Splice>) {
        for (place, object) in self.objects() {
            let of_object = head.iter().filter(|(member, _)| member.place() == place);
            self.set_members(object, of_object, ascii, splices);
        }
    }

    /// Returns the file's own object and its `metadata`, where there is one.
    fn objects(&self) -> impl Iterator<Item = (Place, &str)> {
        let metadata = self.parts.metadata.map(|span| (Place::Metadata, span.in_text(&self.text)));
        std::iter::once((Place::File, body(&self.text))).chain(metadata)
    }

    fn set_members<'a>(
        &self,
        object: &str,
        set: impl Iterator<Item = (&'a Head, &'a Value)>,
        ascii: bool,
        splices: &mut Vec<Splice>,
    ) {
        let members = json::members(object).unwrap_or_default();
        let style = Style::of(object, ascii);
        let render = |value: &Value| match &style {
            Some(style) => style.value(value, style.indent()),
            None => style::scalar(value, ascii),
        };
        let mut added = Vec::new();
        for (member, value) in set {
            match json::last(&members, member.as_str()) {
                Some(present) if says(present.value, value) => {}
                Some(present) => {
                    splices.push(Splice { at: Span::of(&self.text, present.value), with: render(value) });
                }
                None => added.push((member.as_str(), render(value))),
            }
        }
        let Some(last) = members.last() else {
            // An empty `metadata`: nothing there tells how it would be written.
            if !added.is_empty() {
                let all: Vec<String> = added.iter().map(|(key, value)| format!("\"{key}\": {value}")).collect();
                let with = format!("{{{}}}", all.join(", "));
                splices.push(Splice { at: Span::of(&self.text, object), with });
            }
            return;
        };
        let (comma, colon) = style::after_last(object, &members);
        let with: String = added.iter().map(|(key, value)| format!("{comma}\"{key}\"{colon}{value}")).collect();
        if !with.is_empty() {
            let end = Span::of(&self.text, last.value).end;
            splices.push(Splice { at: Span { start: end, end }, with });
        }
    }

    /// Returns the first member that does not say what was set.
    pub(super) fn unfaithful_head(&self, head: &BTreeMap<Head, Value>) -> Option<Head> {
        let says_it = |member: Head, value: &Value| {
            self.objects().filter(|(place, _)| *place == member.place()).any(|(_, object)| {
                let members = json::members(object).unwrap_or_default();
                json::last(&members, member.as_str()).is_some_and(|present| says(present.value, value))
            })
        };
        head.iter().find(|(member, value)| !says_it(**member, value)).map(|(member, _)| *member)
    }
}
