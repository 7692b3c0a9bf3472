//! The part of a checkpoint that says what the device had chosen, so that a run goes on with the same bits.

use super::config::toml_message;
use super::disk;
use crate::step::Network;
use crate::{Error, Result};
use dropforge_runtime::Choices;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Bytes that the file has at most.
const MOST_BYTES: u64 = 16 << 20;

/// What a device chose for the programs of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Chosen {
    /// The name of the device; choices mean nothing to others.
    device: String,
    choices: Choices,
}

impl Chosen {
    /// What was chosen so far for a network.
    pub fn of(network: &Network) -> Chosen {
        Chosen { device: network.runtime().device().name(), choices: network.choices().clone() }
    }

    /// The choices, if they are of the device that a network is on.
    pub fn for_device_of(&self, network: &Network) -> Option<&Choices> {
        self.for_device(&network.runtime().device().name())
    }

    /// The choices, if they are of the device with this name.
    pub fn for_device(&self, name: &str) -> Option<&Choices> {
        (self.device == name).then_some(&self.choices)
    }

    /// What the file holds; there is none where nothing was chosen.
    pub fn to_text(&self) -> Result<Option<String>> {
        if self.choices.is_empty() {
            return Ok(None);
        }
        toml::to_string(self).map(Some).map_err(|error| Error::file(format!("choices: {error}")))
    }

    /// Reads the file; `None` where there is none.
    pub fn read(path: &Path) -> Result<Option<Chosen>> {
        let Some(text) = disk::read_text_if_any(path, MOST_BYTES)? else { return Ok(None) };
        let parsed = toml::from_str(&text).map_err(|error| Error::file(toml_message(&text, &error)));
        parsed.map(Some).map_err(|error| error.context(path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn files_are_read_back_and_only_where_there_is_something_to_say() {
        let folder = std::env::temp_dir().join(format!("dropforge-chosen-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("choices.toml");
        let mut chosen = Chosen { device: "a \"GPU\" (Vulkan)".into(), choices: Choices::new() };
        assert_eq!((chosen.to_text().unwrap(), Chosen::read(&path).unwrap()), (None, None));
        chosen.choices.insert("dot-1-64-k4".into(), "tile:64:64:4:4:16:1".into());
        fs::write(&path, chosen.to_text().unwrap().unwrap()).unwrap();
        assert_eq!(Chosen::read(&path).unwrap(), Some(chosen));
        fs::write(&path, "device = 3\n").unwrap();
        let error = Chosen::read(&path).unwrap_err().to_string();
        assert!(error.contains("choices.toml: line 1") && error.contains("a string"), "{error}");
        fs::remove_dir_all(folder).unwrap();
    }
}
