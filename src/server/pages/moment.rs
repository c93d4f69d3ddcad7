//! A time as pages show it: to the minute, and how long ago that is.

use jiff::Timestamp;
use std::fmt;

/// A time, and the time from which it is seen. Written as HTML, which it is by itself: no letter of
/// it comes from a stranger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moment {
    time: Timestamp,
    now: Timestamp,
}

impl Moment {
    /// As seen now.
    pub(super) fn new(time: Timestamp) -> Self {
        Self { time, now: Timestamp::now() }
    }

    /// How far away, in words.
    fn distance(self) -> String {
        let seconds = self.now.duration_since(self.time).as_secs();
        let words = match seconds.unsigned_abs() {
            0..60 => return "just now".to_owned(),
            near @ 60..7200 => super::counted(usize::try_from(near / 60).unwrap_or_default(), "minute"),
            near @ 7200..172_800 => super::counted(usize::try_from(near / 3600).unwrap_or_default(), "hour"),
            far => super::counted(usize::try_from(far / 86_400).unwrap_or_default(), "day"),
        };
        if seconds > 0 { format!("{words} ago") } else { format!("in {words}") }
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (exact, shown) = (self.time.strftime("%Y-%m-%dT%H:%M:%SZ"), self.time.strftime("%Y-%m-%d %H:%M UTC"));
        write!(f, "<time datetime=\"{exact}\">{shown}</time>, {}", self.distance())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_said_as_people_say_it() {
        let now = Timestamp::from_second(1_000_000_000).unwrap();
        for (second, words) in [
            (1_000_000_000, "just now"),
            (999_999_940, "1 minute ago"),
            (999_996_000, "66 minutes ago"),
            (999_990_000, "2 hours ago"),
            (999_000_000, "11 days ago"),
            (1_000_000_300, "in 5 minutes"),
        ] {
            let moment = Moment { time: Timestamp::from_second(second).unwrap(), now };
            assert_eq!(moment.distance(), words, "{second}");
        }
        let text = Moment { time: now, now }.to_string();
        assert_eq!(text, "<time datetime=\"2001-09-09T01:46:40Z\">2001-09-09 01:46 UTC</time>, just now");
    }
}
