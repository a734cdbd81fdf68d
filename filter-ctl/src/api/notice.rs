//! What the daemon tells of beside denials: what it has mended, marked or found.

use super::{DenyEvent, Missed};
use serde::{Deserialize, Serialize};

/// A line of `GET /v1/events`. Who knows a kind of line by its fields may skip the others.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Line {
    /// A packet or a connection was denied.
    Denied(DenyEvent),
    /// The daemon has mended, marked or found something.
    Notice(Notice),
    /// Lines are missing here.
    Missed(Missed),
}

/// The daemon has mended, marked or found something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Notice {
    /// When, milliseconds since 1970.
    pub time_ms: u64,
    /// What it is about.
    pub notice: NoticeKind,
    /// Id of the sandbox, where it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// What happened, on one line.
    pub text: String,
}

/// What a notice is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NoticeKind {
    /// A TCX link that somebody had removed was put back.
    Link,
    /// A clsact filter that somebody had removed was put back.
    Filter,
    /// A routing rule or route that somebody had removed was put back.
    Route,
    /// The program of a bridge that somebody had removed was put back.
    Bridge,
    /// The sidecar has ended or did not answer, and is replaced.
    Sidecar,
    /// The device of a sandbox has vanished.
    Detached,
    /// Hooks were found that no record knows.
    Orphan,
    /// The operator's configuration was read again, or was refused.
    Configuration,
    /// A process was found that the hooks of its sandbox's cgroup do not hold.
    Privileged,
}

impl NoticeKind {
    /// Every kind.
    pub const ALL: [NoticeKind; 9] = [
        NoticeKind::Link,
        NoticeKind::Filter,
        NoticeKind::Route,
        NoticeKind::Bridge,
        NoticeKind::Sidecar,
        NoticeKind::Detached,
        NoticeKind::Orphan,
        NoticeKind::Configuration,
        NoticeKind::Privileged,
    ];

    /// Its name, as JSON and metrics have it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            NoticeKind::Link => "link",
            NoticeKind::Filter => "filter",
            NoticeKind::Route => "route",
            NoticeKind::Bridge => "bridge",
            NoticeKind::Sidecar => "sidecar",
            NoticeKind::Detached => "detached",
            NoticeKind::Orphan => "orphan",
            NoticeKind::Configuration => "configuration",
            NoticeKind::Privileged => "privileged",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_told_apart() {
        let notice = Notice { time_ms: 1, notice: NoticeKind::Link, id: Some("a".to_owned()), text: "x".to_owned() };
        let text = serde_json::to_string(&Line::Notice(notice.clone())).unwrap();
        assert_eq!(text, r#"{"timeMs":1,"notice":"link","id":"a","text":"x"}"#);
        assert!(matches!(serde_json::from_str(&text), Ok(Line::Notice(read)) if read == notice));
        assert!(matches!(serde_json::from_str(r#"{"missed":3}"#), Ok(Line::Missed(Missed { missed: 3 }))));
        // Readers from before there were notices skip them.
        assert!(serde_json::from_str::<DenyEvent>(&text).is_err() && serde_json::from_str::<Missed>(&text).is_err());
        for kind in NoticeKind::ALL {
            assert_eq!(serde_json::to_string(&kind).unwrap(), format!("\"{}\"", kind.name()));
        }
    }
}
