//! What is wrong with a document, where, and what to do about it.
//!
//! Invariant: a problem names its place as far as it is known (file, line, field, the text as written) and never carries a
//! secret.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How bad a [`Problem`] is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Severity {
    /// The document is refused.
    #[default]
    Error,
    /// The document is taken, but does something that its author may not expect.
    Warning,
}

/// One thing that is wrong with a document, or that its author should know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// Refused, or only worth knowing.
    pub severity: Severity,
    /// The file as the caller named it; empty when there is none.
    pub file: Box<str>,
    /// Line in the file, from 1.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub line: Option<u32>,
    /// The field from the top of the document, such as `network.denyOut[1]`; empty for the document itself.
    pub field: String,
    /// What is wrong, in one clause. Begins with the offending text in quotes when there is one.
    pub message: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub hint: Option<String>,
    /// What the REST API answers, where it has a fixed text.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    api: Option<Box<str>>,
}

impl Problem {
    /// An error at `field`.
    #[must_use]
    pub fn error(field: impl Into<String>, message: impl Into<String>) -> Problem {
        Problem {
            severity: Severity::Error,
            file: Box::default(),
            line: None,
            field: field.into(),
            message: message.into(),
            hint: None,
            api: None,
        }
    }

    /// A warning about `field`.
    #[must_use]
    pub fn warning(field: impl Into<String>, message: impl Into<String>) -> Problem {
        Problem { severity: Severity::Warning, ..Problem::error(field, message) }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Problem {
        self.hint = Some(hint.into());
        self
    }

    /// Sets the exact text that the REST API answers.
    #[must_use]
    pub fn api(mut self, text: impl Into<Box<str>>) -> Problem {
        self.api = Some(text.into());
        self
    }

    /// Sets the file and, where it is known, the line.
    #[must_use]
    pub fn at(mut self, file: &str, line: Option<u32>) -> Problem {
        self.file = file.into();
        self.line = line.or(self.line);
        self
    }

    /// What the REST API answers with status 400: the fixed text where there is one, else a validation error that names the
    /// field and what is wrong with it.
    #[must_use]
    pub fn api_message(&self) -> String {
        match (&self.api, self.short_field()) {
            (Some(text), _) => text.to_string(),
            (None, "") => format!("validation error: {}", self.message),
            (None, field) => format!("validation error: {field}{}{}", self.separator(), self.message),
        }
    }

    /// The field as its author wrote it: without the enclosing `network`.
    fn short_field(&self) -> &str {
        self.field.strip_prefix("network.").unwrap_or(&self.field)
    }

    /// Between the field and a message: the text as written follows its field directly, anything else follows a colon.
    fn separator(&self) -> &'static str {
        if self.message.starts_with('"') { " " } else { ": " }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.severity {
            Severity::Error => "error: ",
            Severity::Warning => "warning: ",
        })?;
        if !self.file.is_empty() {
            match self.line {
                Some(line) => write!(f, "{}:{line}: ", self.file)?,
                None => write!(f, "{}: ", self.file)?,
            }
        }
        if !self.field.is_empty() {
            write!(f, "{}{}", self.short_field(), self.separator())?;
        }
        f.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "\n  hint: {hint}"),
            None => Ok(()),
        }
    }
}

/// All problems of one call, in the order of the text. Never empty when it is an error.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(transparent)]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    /// Most problems that are listed one by one.
    pub const MAX: usize = 100;

    /// The first [`Self::MAX`] problems, and how many more there are.
    #[must_use]
    pub fn capped(mut problems: Vec<Problem>) -> Problems {
        let more = problems.len().saturating_sub(Self::MAX);
        if more > 0 {
            problems.truncate(Self::MAX);
            let last =
                Problem { severity: problems[0].severity, ..Problem::error("", format!("and {more} more like these")) };
            problems.push(last.at(&problems[0].file.clone(), None));
        }
        Problems(problems)
    }

    /// The REST form of the first problem.
    #[must_use]
    pub fn api_message(&self) -> String {
        self.0.first().map(Problem::api_message).unwrap_or_default()
    }
}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Problems {
        Problems(vec![problem])
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_as_a_line_and_a_hint() {
        let problem = Problem::error("network.denyOut[1]", "\"example.com\": domains cannot be denied")
            .hint("deny everything")
            .api("invalid denied CIDR example.com")
            .at("bad.yaml", Some(4));
        assert_eq!(
            problem.to_string(),
            "error: bad.yaml:4: denyOut[1] \"example.com\": domains cannot be denied\n  hint: deny everything"
        );
        assert_eq!(problem.api_message(), "invalid denied CIDR example.com");
    }

    #[test]
    fn reads_well_with_less() {
        assert_eq!(Problem::error("", "is empty").to_string(), "error: is empty");
        assert_eq!(Problem::warning("id", "is odd").at("a", None).to_string(), "warning: a: id: is odd");
        assert_eq!(Problem::error("id", "is odd").api_message(), "validation error: id: is odd");
        assert_eq!(Problem::error("mac", "\"x\": is odd").api_message(), "validation error: mac \"x\": is odd");
    }
}
