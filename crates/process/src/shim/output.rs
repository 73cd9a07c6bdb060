//! The two output files of a running program: how long they may be, how long they may stand still.

use std::{
    fs::File,
    time::{Duration, Instant},
};

use crate::{Limits, StopCause};

/// Longest time between two looks.
const SLOWEST: Duration = Duration::from_secs(1);

/// Shortest time between two looks.
const FASTEST: Duration = Duration::from_millis(50);

/// The files, and what was last seen of them.
pub(super) struct Output {
    files: [File; 2],
    cap: Option<u64>,
    silence: Option<Duration>,
    sizes: [u64; 2],
    changed: Instant,
    looked: Instant,
    next: Option<Instant>,
}

impl Output {
    /// Watches files from now on.
    pub(super) fn new(files: [File; 2], limits: &Limits) -> Self {
        let now = Instant::now();
        let cap = Some(limits.output).filter(|cap| !matches!(cap, 0 | &u64::MAX));
        let silence = limits.silence.filter(|silence| !silence.is_zero());
        let mut output = Self { files, cap, silence, sizes: [0, 0], changed: now, looked: now, next: None };
        output.sizes = output.measure();
        // Nothing is known of its pace yet, and a flood fills a disk within the first second.
        output.next = output.next_look(now, 0).map(|next| next.min(now + FASTEST));
        output
    }

    /// Returns when to look again; never, when no limit demands it.
    pub(super) fn next(&self) -> Option<Instant> {
        self.next
    }

    /// Looks, when it is time: cuts a file that is too long, and tells which limit was passed.
    pub(super) fn look(&mut self, now: Instant) -> Option<StopCause> {
        if self.next.is_none_or(|next| now < next) {
            return None;
        }
        let sizes = self.measure();
        let grown: u64 = sizes.iter().zip(self.sizes).map(|(new, old)| new.saturating_sub(old)).max().unwrap_or(0);
        let per_second = (grown as f64 / now.duration_since(self.looked).as_secs_f64().max(0.001)) as u64;
        if sizes != self.sizes {
            self.changed = now;
        }
        self.sizes = sizes;
        self.looked = now;
        self.next = self.next_look(now, per_second);
        if self.cut() {
            return Some(StopCause::Output);
        }
        self.silence.filter(|silence| now.duration_since(self.changed) >= *silence).map(|_| StopCause::Silence)
    }

    /// Cuts for the last time; answers the sizes.
    pub(super) fn finish(&mut self) -> [u64; 2] {
        self.sizes = self.measure();
        self.cut();
        self.sizes
    }

    fn measure(&self) -> [u64; 2] {
        self.files.each_ref().map(|file| file.metadata().map_or(0, |meta| meta.len()))
    }

    fn cut(&mut self) -> bool {
        let Some(cap) = self.cap else { return false };
        let mut cut = false;
        for (file, size) in self.files.iter().zip(&mut self.sizes) {
            if *size > cap {
                cut = true;
                // Cut and not only told: a program that is about to be killed can still fill a disk within its grace.
                if file.set_len(cap).is_ok() {
                    *size = cap;
                }
            }
        }
        cut
    }

    /// Returns when the cap is half reached at the present pace, or a quarter of the allowed silence is over.
    fn next_look(&self, now: Instant, per_second: u64) -> Option<Instant> {
        let for_cap = self.cap.map(|cap| {
            let left = cap.saturating_sub(self.sizes[0].max(self.sizes[1]));
            let seconds = left as f64 / 2.0 / per_second.max(1) as f64;
            Duration::from_secs_f64(seconds.min(SLOWEST.as_secs_f64())).max(FASTEST)
        });
        let for_silence = self.silence.map(|silence| {
            let end = self.changed + silence;
            // Never later than the moment at which the limit would be passed.
            (silence / 4).clamp(FASTEST, SLOWEST).min(end.saturating_duration_since(now)).max(Duration::from_millis(1))
        });
        for_cap.into_iter().chain(for_silence).min().map(|wait| now + wait)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn output(cap: u64, silence: Option<Duration>) -> Output {
        let file = || tempfile::tempfile().expect("a temporary file");
        Output::new([file(), file()], &Limits { wall: None, silence, output: cap, memory: None, grace: Duration::ZERO })
    }

    #[test]
    fn without_limits_nobody_looks() {
        assert_eq!(output(0, None).next(), None);
        assert_eq!(output(u64::MAX, Some(Duration::ZERO)).next(), None);
    }

    #[test]
    fn a_quiet_program_is_looked_at_once_a_second() {
        let mut output = output(1 << 20, None);
        let start = Instant::now();
        let mut now = start;
        let mut looks = 0;
        while now < start + Duration::from_secs(60) {
            now = output.next().expect("a cap is set");
            assert_eq!(output.look(now), None);
            looks += 1;
        }
        assert!(looks <= 62, "{looks} looks in a minute");
    }

    #[test]
    fn silence_is_told_when_it_has_lasted_and_not_before() {
        let silence = Duration::from_secs(600);
        let mut output = output(0, Some(silence));
        let start = Instant::now();
        loop {
            let now = output.next().expect("a limit is set");
            match output.look(now) {
                None => assert!(now < start + silence + Duration::from_secs(1)),
                Some(cause) => {
                    assert_eq!(cause, StopCause::Silence);
                    assert!(now >= output.changed + silence);
                    break;
                }
            }
        }
    }

    #[test]
    fn a_byte_breaks_the_silence() {
        let mut output = output(0, Some(Duration::from_secs(10)));
        let late = Instant::now() + Duration::from_secs(9);
        output.files[1].write_all(b".").expect("a writable file");
        assert_eq!(output.look(late), None);
        assert_eq!(output.look(late + Duration::from_secs(5)), None);
        assert_eq!(output.look(late + Duration::from_secs(11)), Some(StopCause::Silence));
    }

    #[test]
    fn what_is_above_the_cap_is_cut_off() {
        let mut output = output(10, None);
        output.files[0].write_all(&[b'x'; 25]).expect("a writable file");
        let next = output.next().expect("a cap is set");
        assert_eq!(output.look(next), Some(StopCause::Output));
        assert_eq!(output.measure(), [10, 0]);
        output.files[0].write_all(&[b'x'; 25]).expect("a writable file");
        assert_eq!(output.finish()[1], 0);
        assert_eq!(output.measure()[0], 10);
    }

    #[test]
    fn a_flood_is_looked_at_more_often() {
        let mut output = output(1 << 20, None);
        output.files[0].write_all(&vec![b'x'; 900 << 10]).expect("a writable file");
        let first = output.next().expect("a cap is set");
        assert_eq!(output.look(first), None);
        assert!(output.next().expect("a cap is set") - first < Duration::from_millis(200));
    }
}
