//! A policy as it travels from one process to another, and as a port keeps it.
//!
//! A long policy is mostly quotes and ends of lines, each of which would become two bytes in JSON and be looked at one by one
//! at both ends. So only how long the parts are is said so, in a line; behind it they come as they are.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The text of a policy with the files it names: all that is needed to understand it anywhere.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bundle {
    /// The policy file.
    pub text: String,
    /// The files of addresses, by the names the policy has for them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub files: BTreeMap<String, String>,
}

/// The bytes of each part, in the order in which they come.
#[derive(Debug, Serialize, Deserialize)]
struct Lengths {
    text: usize,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    files: BTreeMap<String, usize>,
}

impl Bundle {
    /// The line with the lengths.
    ///
    /// # Errors
    /// The lengths cannot be said.
    pub(crate) fn lengths(&self) -> Result<String, serde_json::Error> {
        let files = self.files.iter().map(|(name, text)| (name.clone(), text.len())).collect();
        let lengths = serde_json::to_string(&Lengths { text: self.text.len(), files })?;
        Ok(lengths + "\n")
    }

    /// That line, and what they are of.
    pub(crate) fn parts<'b>(&'b self, lengths: &'b str) -> Vec<&'b str> {
        [lengths, &self.text].into_iter().chain(self.files.values().map(String::as_str)).collect()
    }

    /// All of it in one.
    ///
    /// # Errors
    /// The lengths cannot be said.
    pub(crate) fn packed(&self) -> Result<String, serde_json::Error> {
        Ok(self.parts(&self.lengths()?).concat())
    }

    /// What was packed, whoever says so.
    ///
    /// # Errors
    /// Why it is none.
    pub(crate) fn unpacked(packed: &str) -> Result<Self, String> {
        let (lengths, mut rest) = packed.split_once('\n').ok_or("a policy without a line of lengths")?;
        let lengths: Lengths = serde_json::from_str(lengths).map_err(|e| e.to_string())?;
        let mut part = |len: usize| {
            let (part, behind) =
                rest.split_at_checked(len).ok_or("a policy whose lengths are not its own")?;
            rest = behind;
            Ok::<_, String>(part.to_owned())
        };
        let text = part(lengths.text)?;
        let files = lengths.files.into_iter().map(|(name, len)| Ok((name, part(len)?)));
        let files = files.collect::<Result<_, String>>()?;
        if !rest.is_empty() {
            return Err("a policy with more behind it".to_owned());
        }
        Ok(Self { text, files })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_is_unpacked_whatever_is_in_it() {
        let file = |name: &str, text: &str| (name.to_owned(), text.to_owned());
        let texts = ["", "\n", "default = \"deny\"\n# für \"alle\" \\ \r\n\t\u{1f6a6}\0"];
        for text in texts {
            for files in [vec![], vec![file("a\n\"b", ""), file("", "{}\n"), file("z", text)]] {
                let bundle = Bundle { text: text.to_owned(), files: files.into_iter().collect() };
                let packed = bundle.packed().unwrap();
                assert_eq!(Bundle::unpacked(&packed).unwrap(), bundle);
                assert!(packed.ends_with(text), "as it is");
            }
        }
    }

    #[test]
    fn what_nobody_packed_is_refused() {
        let lengths = "a policy whose lengths are not its own";
        for (packed, why) in [
            ("", "a policy without a line of lengths"),
            ("{\"text\":0}", "a policy without a line of lengths"),
            ("{\"text\":3}\nab", lengths),
            ("{\"text\":1}\nü", lengths),
            ("{\"text\":18446744073709551615}\nab", lengths),
            ("{\"text\":1,\"files\":{\"a\":1,\"b\":18446744073709551615}}\nabc", lengths),
            ("{\"text\":1}\nab", "a policy with more behind it"),
        ] {
            assert_eq!(Bundle::unpacked(packed).unwrap_err(), why, "{packed}");
        }
        for packed in ["\n", "{}\n", "[]\n", "{\"text\":-1}\n", "{\"text\":\"default = 'deny'\"}\n"] {
            Bundle::unpacked(packed).unwrap_err();
        }
    }
}
