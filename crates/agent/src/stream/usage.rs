//! Figures of an event: tokens, money, turns.

use serde_json::Value;

use crate::descriptor::{Pointer, UsageRule};
use oodatcaa_core::Usage;

/// Reads the figures that a rule finds in an event; none when it finds nothing.
pub(super) fn read(rule: &UsageRule, event: &Value) -> Option<Usage> {
    if !rule.when.holds(event) {
        return None;
    }
    let number = |ptr: &Option<Pointer>| ptr.as_ref().and_then(|ptr| ptr.first(event));
    let usage = match (&rule.regex, &rule.ptr) {
        (Some(pattern), Some(ptr)) => {
            let text = ptr.word(event)?;
            let caught = pattern.0.captures(&text)?;
            let group = |name: &str| caught.name(name).map(|found| found.as_str());
            Usage {
                tokens_in: group("input").and_then(rounded),
                tokens_out: group("output").and_then(rounded),
                cached: group("cached").and_then(rounded),
                cost_usd: group("cost").and_then(|word| word.replace(',', "").parse().ok()).filter(|cost| money(*cost)),
                ..Usage::default()
            }
        }
        _ => Usage {
            tokens_in: tokens(&rule.input, event),
            tokens_out: tokens(&rule.output, event),
            cached: tokens(&rule.cached, event),
            cost_usd: number(&rule.cost).and_then(Value::as_f64).filter(|cost| money(*cost)),
            turns: number(&rule.turns).and_then(Value::as_u64).and_then(|turns| u32::try_from(turns).ok()),
            seconds: None,
        },
    };
    Some(usage).filter(|usage| *usage != Usage::default())
}

fn money(cost: f64) -> bool {
    cost.is_finite() && cost >= 0.0
}

fn tokens(pointers: &[Pointer], event: &Value) -> Option<u64> {
    let found: Vec<u64> = pointers.iter().flat_map(|ptr| ptr.all(event)).filter_map(Value::as_u64).collect();
    (!found.is_empty()).then(|| found.into_iter().fold(0, u64::saturating_add))
}

/// Reads a figure such as `1.2k`, as people are shown it.
fn rounded(word: &str) -> Option<u64> {
    let (number, factor) = match word.as_bytes().last()? {
        b'k' | b'K' => (&word[..word.len() - 1], 1_000.0),
        b'M' => (&word[..word.len() - 1], 1_000_000.0),
        _ => (word, 1.0),
    };
    let number: f64 = number.replace(',', "").parse().ok()?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be small and not negative")]
    (number.is_finite() && (0.0..1e12).contains(&number)).then(|| (number * factor).round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounded_figures_are_read_as_they_are_meant() {
        assert_eq!(
            ["1.2k", "56", "1,234", "2M", "x", "", "k"].map(rounded),
            [Some(1_200), Some(56), Some(1_234), Some(2_000_000), None, None, None]
        );
    }
}
