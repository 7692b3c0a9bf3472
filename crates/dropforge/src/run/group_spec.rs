//! Groups of parameters as they stand in a configuration.

use super::part::Part;
use crate::described;
use crate::optim::{Group, Optimizer, group};
use crate::schedule::Schedule;
use crate::settings::{Context, Described, Range, SettingType, Table, Value};
use crate::{Error, Result};

/// Parameters that are trained in a way of their own: `[[groups]]` of a configuration.
///
/// ```toml
/// [[groups]]
/// pattern = "backbone.*"
/// lr_factor = 0.1
/// ```
#[derive(Clone, Debug)]
pub struct GroupSpec {
    pattern: String,
    name: Option<String>,
    lr: Option<f64>,
    lr_factor: Option<f64>,
    weight_decay: Option<f64>,
    settings: Option<Table>,
    frozen: bool,
    frozen_statistics: bool,
    optimizer: Option<Part<dyn Optimizer>>,
    schedule: Option<Schedule>,
}

/// Specs are equal if they are written alike.
impl PartialEq for GroupSpec {
    fn eq(&self, other: &GroupSpec) -> bool {
        matches!((Described::write(self), Described::write(other)), (Ok(this), Ok(that)) if this == that)
    }
}

described! {
    GroupSpec = "group", "`[[groups]]`: parameters that are trained in a way of their own";
    pattern: String, None, Range::ANY, "paths of the parameters; * stands for any characters";
    name: Option<String>, Some(None), Range::ANY, "what the group is called, the pattern without its wildcards by default";
    lr: Option<f64>, Some(None), (0.0..).into(), "a learning rate of its own";
    lr_factor: Option<f64>, Some(None), (0.0..).into(), "the learning rate as a multiple of that of all others";
    weight_decay: Option<f64>, Some(None), (0.0..).into(), "a weight decay of its own";
    settings: Option<Table>, Some(None), Range::ANY, "other settings of the optimizer with values of their own";
    frozen: bool, Some(false), Range::ANY, "whether these are not trained at all";
    frozen_statistics: bool, Some(false), Range::ANY, "whether batch norms keep their running statistics and go by them";
    optimizer: Option<Part<dyn Optimizer>>, Some(None), Range::ANY, "another optimizer";
    schedule: Option<Schedule>, Some(None), Range::ANY, "how the learning rate changes, if otherwise than that of all others";
}

impl GroupSpec {
    /// The schedule that these parameters have for themselves.
    pub fn schedule(&self) -> Option<&Schedule> {
        self.schedule.as_ref()
    }

    pub(super) fn schedule_mut(&mut self) -> Option<&mut Schedule> {
        self.schedule.as_mut()
    }

    /// The optimizer that these parameters have for themselves.
    pub(super) fn optimizer(&self) -> Option<&Part<dyn Optimizer>> {
        self.optimizer.as_ref()
    }

    /// The group for a step.
    ///
    /// # Errors
    /// Only if there is a bug: what was read can be built.
    pub fn build(&self) -> Result<Group> {
        let mut made = group(self.pattern.as_str());
        if let Some(name) = &self.name {
            made = made.name(name.as_str());
        }
        if let Some(lr) = self.lr {
            made = made.lr(lr);
        }
        if let Some(factor) = self.lr_factor {
            made = made.lr_factor(factor);
        }
        if let Some(weight_decay) = self.weight_decay {
            made = made.weight_decay(weight_decay);
        }
        for (setting, value) in self.settings.iter().flatten() {
            made = made.setting(setting.as_str(), value.clone());
        }
        if self.frozen {
            made = made.frozen();
        }
        if self.frozen_statistics {
            made = made.frozen_statistics();
        }
        if let Some(optimizer) = &self.optimizer {
            made = made.optimizer(optimizer.build()?);
        }
        Ok(made)
    }
}

impl SettingType for GroupSpec {
    fn expects() -> String {
        "a table with `pattern` and what is different".into()
    }

    fn read(value: &Value, context: &Context<'_>) -> Result<GroupSpec> {
        let Value::Table(table) = value else {
            return Err(Error::setting(format!("should be {}", <GroupSpec as SettingType>::expects())));
        };
        let spec = <GroupSpec as Described>::read(table, context)?;
        match spec.lr.is_some() && spec.lr_factor.is_some() {
            true => Err(Error::setting("group: `lr` and `lr_factor` exclude each other; leave one out")),
            false => Ok(spec),
        }
    }

    fn kind() -> Option<&'static str> {
        Some(<GroupSpec as Described>::NAME)
    }

    fn write(&self) -> Result<Option<Value>> {
        let table: Table = Described::write(self)?;
        Ok(Some(Value::Table(table)))
    }
}

#[cfg(test)]
mod tests {
    use crate::optim::group;
    use crate::run::RunConfig;
    use crate::settings::Table;

    #[test]
    fn groups_of_a_file_are_built() {
        let config = RunConfig::parse(
            "[[groups]]\npattern = 'c.*'\nfrozen = true\n[[groups]]\npattern = '*.bias'\nlr_factor = 2\noptimizer = 'sgd'\n\
             schedule = { type = 'cosine', warmup = 1.0 }",
        )
        .unwrap();
        assert_eq!(config.groups.len(), 2);
        // Whatever a program can say of a group.
        let said = group("c.*")
            .name("start")
            .frozen_statistics()
            .setting("momentum", 0.5)
            .weight_decay(0.1)
            .lr(0.2)
            .config()
            .unwrap();
        let text =
            toml::to_string(&Table::from_iter([("groups".to_string(), vec![said.clone()].into())])).unwrap();
        let read = RunConfig::parse(&text).unwrap().groups.remove(0).build().unwrap();
        assert_eq!((read.given_name(), read.config().unwrap()), ("start", said));
        assert!(config.groups[0].schedule().is_none() && config.groups[1].schedule().is_some());
        config.groups.iter().for_each(|group| drop(group.build().unwrap()));
        let again = RunConfig::parse(&config.to_text().unwrap()).unwrap();
        assert_eq!(again.groups, config.groups);
        for (wrong, part) in
            [("lr = 1\nlr_factor = 2", "exclude"), ("lr = nan", "NaN"), ("rate = 1", "`rate`")]
        {
            let text = format!("[[groups]]\npattern = '*'\n{wrong}");
            let message = RunConfig::parse(&text).unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        }
    }
}
