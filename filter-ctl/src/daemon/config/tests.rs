use super::*;
use serde::de::DeserializeOwned;

fn read_text(text: &str) -> anyhow::Result<Config> {
    let file = tempfile::NamedTempFile::new()?;
    fs::write(file.path(), text)?;
    read(file.path(), true)
}

/// The names of all fields, as the refusal of another tells them.
fn fields<T: DeserializeOwned>() -> Vec<String> {
    let refusal = serde_json::from_str::<T>(r#"{"?":0}"#).err().expect("no such field").to_string();
    let names = refusal.split('`').skip(3).step_by(2).map(str::to_owned).collect::<Vec<_>>();
    assert!(!names.is_empty(), "{refusal}");
    names
}

/// The sections that are off by default, as they are when somebody takes their `#` away.
fn sections() -> Vec<String> {
    let mut sections: Vec<String> = Vec::new();
    let mut is_within = false;
    for line in COMMENTED.lines() {
        let text = line.strip_prefix('#').filter(|text| !text.is_empty());
        match text {
            Some(text) if text.starts_with(|c: char| c.is_ascii_lowercase()) => {
                sections.push(format!("{text}\n"));
                is_within = true;
            }
            Some(text) if is_within && text.starts_with("  ") => {
                let section = sections.last_mut().expect("it has begun");
                section.push_str(text);
                section.push('\n');
            }
            _ => is_within = false,
        }
    }
    sections
}

#[test]
fn the_commented_configuration_says_what_holds_without_it() -> anyhow::Result<()> {
    let (commented, default) = (read_text(COMMENTED)?, Config::default());
    assert_eq!(format!("{commented:?}"), format!("{default:?}"));
    Ok(())
}

#[test]
fn every_section_that_is_off_can_be_switched_on() -> anyhow::Result<()> {
    let sections = sections();
    let names: Vec<&str> = sections.iter().filter_map(|section| section.split(':').next()).collect();
    assert_eq!(names, ["api", "metrics", "connections", "provider", "provider", "templates"]);
    for section in &sections {
        let read = read_text(&format!("{COMMENTED}\n{section}"));
        assert!(read.is_ok(), "{section}\n{:?}", read.err());
    }
    // Where a section shows defaults, they are these.
    let [api, metrics, ..] = sections.as_slice() else { panic!("{sections:?}") };
    let default = |text: &str| read_text(text).map(|config| format!("{config:?}"));
    assert_eq!(default(metrics)?, default("metrics: {}")?);
    let without_tls: String = api
        .lines()
        .take_while(|line| !line.contains("# Its domain"))
        .fold(String::new(), |text, line| text + line + "\n");
    assert_eq!(default(&without_tls)?, default("api: {}")?);
    Ok(())
}

#[test]
fn the_commented_configuration_has_every_field() {
    let has = |field: &str| {
        COMMENTED.lines().any(|line| line.trim_start_matches(['#', ' ']).starts_with(&format!("{field}:")))
    };
    let all = [
        fields::<File>(),
        fields::<ApiConfig>(),
        fields::<TlsFiles>(),
        fields::<MetricsConfig>(),
        fields::<Template>(),
    ];
    for field in all.concat() {
        assert!(has(&field), "{field} is missing");
    }
    assert!(fields::<File>().contains(&"openRanges".to_owned()), "{:?}", fields::<File>());
}

#[test]
fn what_is_not_known_is_refused() {
    for text in ["metrics: { perSandboxes: true }", "metrics: { listen: nowhere }", "nameserver: []", "events: 5"] {
        assert!(read_text(text).is_err(), "{text}");
    }
}
