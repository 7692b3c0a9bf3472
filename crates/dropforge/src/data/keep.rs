//! What a cache keeps, as files call it.

use crate::settings::{Context, SettingType, Value, unknown};
use crate::{Error, Result};
use dropforge_data::Keep;

const ALL: [(&str, Keep); 2] = [("first", Keep::First), ("recent", Keep::Recent)];

impl SettingType for Keep {
    fn expects() -> String {
        "`first` or `recent`".into()
    }

    fn read(value: &Value, _: &Context<'_>) -> Result<Keep> {
        let Some(name) = value.as_str() else {
            return Err(Error::setting(format!("should be {}, got {value}", Keep::expects())));
        };
        let known = ALL.iter().find(|(known, _)| *known == name);
        known
            .map(|(_, keep)| *keep)
            .ok_or_else(|| unknown("unknown word", name, "known are", &ALL.map(|(known, _)| known)))
    }

    fn write(&self) -> Result<Option<Value>> {
        let known = ALL.iter().find(|(_, keep)| keep == self);
        Ok(known.map(|(name, _)| Value::String((*name).into())))
    }
}
