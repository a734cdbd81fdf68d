//! Makes one sandbox and takes it away, again and again, until it is killed: `filter-provider-victim CONFIG ID`, the configuration as JSON.
#![forbid(unsafe_code)]

use filter_provider::{Ask, Config, Provider};
use serde_json::Value;
use std::env;
use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let [config, id] = <[String; 2]>::try_from(env::args().skip(1).collect::<Vec<_>>())
        .map_err(|words| format!("expected CONFIG and ID, not {words:?}"))?;
    let config: Config = serde_json::from_str(&config)?;
    let provider = Provider::new(&config)?;
    let ask = Ask { id, template: "base".to_owned(), settings: Value::Null, body: Value::Null };
    loop {
        let made = provider.create(&ask)?;
        provider.start(&ask.id, &made)?;
        provider.destroy(&ask.id)?;
    }
}
