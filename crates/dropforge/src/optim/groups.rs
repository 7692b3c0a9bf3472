//! Groups of parameters, and all that happens between gradients and new parameters.

use super::loss_scale::LossScale;
use super::{Optimizer, Parameter, accumulate, clip};
use crate::error::{Error, ErrorKind, Result};
use crate::nn::{Held, Scope};
use crate::settings::{Table, Value, unknown};
use crate::tensor::{Tensor, gradients};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Parameters that are trained in a way of their own, by a pattern of their paths. See [`group`].
pub struct Group {
    pattern: String,
    name: String,
    rate: Rate,
    settings: Vec<(String, Value)>,
    frozen: bool,
    frozen_statistics: bool,
    optimizer: Option<Box<dyn Optimizer>>,
}

/// The parameters whose path fits a pattern, in which `*` stands for any characters, dots included, and `?` for one:
/// `backbone.*`, `*.bias`. Of several groups the first that fits takes a parameter; those of none are trained by the
/// optimizer as it is.
///
/// ```
/// use dropforge::optim::group;
/// use dropforge::prelude::*;
///
/// let (x, y) = (Tensor::ones([4, 3]), Tensor::ones([4, 2]));
/// let net = seq!["backbone" => dense(8), relu(), "head" => dense(2)];
/// let mut step = StepBuilder::new(net, mse(), Adam::new(1e-2))
///     .group(group("backbone.*").frozen())
///     .group(group("*.bias").weight_decay(0.0).lr_factor(2.0))
///     .compile_for((&x, &y))?;
/// let before = step.states().read("backbone.weight")?;
/// step.run((&x, &y))?;
/// assert_eq!(step.states().read("backbone.weight")?, before);
/// step.unfreeze("backbone")?;
/// step.run((&x, &y))?;
/// assert_ne!(step.states().read("backbone.weight")?, before);
/// # Ok::<(), dropforge::Error>(())
/// ```
#[doc(alias = "param_groups")]
pub fn group(pattern: impl Into<String>) -> Group {
    let pattern = pattern.into();
    let name = pattern.trim_matches(['*', '?', '.']);
    let name = if name.is_empty() { "all".into() } else { name.replace(['*', '?'], "_") };
    Group {
        pattern,
        name,
        rate: Rate::Factor(1.0),
        settings: Vec::new(),
        frozen: false,
        frozen_statistics: false,
        optimizer: None,
    }
}

#[derive(Clone, Copy)]
enum Rate {
    /// This times the rate of all others.
    Factor(f64),
    Own(f64),
}

impl Group {
    /// What the group is called where its settings are changed, and in front of what its optimizer keeps. Default: the
    /// pattern without the wildcards at its ends.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Group {
        self.name = name.into();
        self
    }

    /// What the group is called.
    pub fn given_name(&self) -> &str {
        &self.name
    }

    /// A learning rate of its own; schedules scale it as they scale the other.
    #[must_use]
    pub fn lr(mut self, lr: f64) -> Group {
        self.rate = Rate::Own(lr);
        self
    }

    /// The learning rate as a multiple of that of all others. Default 1.
    #[must_use]
    pub fn lr_factor(mut self, factor: f64) -> Group {
        self.rate = Rate::Factor(factor);
        self
    }

    /// A weight decay of its own.
    #[must_use]
    pub fn weight_decay(self, weight_decay: f64) -> Group {
        self.setting("weight_decay", weight_decay)
    }

    /// Any setting of the optimizer that can change while training, as a value of its own.
    #[must_use]
    pub fn setting(mut self, setting: impl Into<String>, value: impl Into<Value>) -> Group {
        self.settings.push((setting.into(), value.into()));
        self
    }

    /// Does not train these: their gradients are not even computed, and no state is kept for them.
    #[must_use]
    pub fn frozen(mut self) -> Group {
        self.frozen = true;
        self
    }

    /// The same with its own optimizer, if it has one, inside of another.
    pub(crate) fn around(
        mut self,
        wrap: impl FnOnce(Box<dyn Optimizer>) -> Result<Box<dyn Optimizer>>,
    ) -> Result<Group> {
        self.optimizer = self.optimizer.map(wrap).transpose()?;
        Ok(self)
    }

    /// Keeps the running statistics of layers that the pattern fits as they are, and has batch norms go by them in
    /// training, too, as in evaluation: torchvision's `FrozenBatchNorm2d`, if the group is also
    /// [frozen](Group::frozen). So they stay where the group is trained again. Default: they follow what is trained on,
    /// whether the weights are trained or not.
    ///
    /// ```
    /// use dropforge::optim::group;
    /// use dropforge::prelude::*;
    ///
    /// let (x, y) = (Tensor::ones([4, 3]), Tensor::ones([4, 2]));
    /// let net = seq!["trunk" => seq![dense(8), batch_norm()], "head" => dense(2)];
    /// let mut step = StepBuilder::new(net, mse(), Adam::new(1e-2))
    ///     .group(group("trunk.*").frozen().frozen_statistics())
    ///     .compile_for((&x, &y))?;
    /// let before = step.states().read("trunk.1.running_mean")?;
    /// step.run((&x, &y))?;
    /// assert_eq!(step.states().read("trunk.1.running_mean")?, before);
    /// # Ok::<(), dropforge::Error>(())
    /// ```
    #[doc(alias = "FrozenBatchNorm2d")]
    #[must_use]
    pub fn frozen_statistics(mut self) -> Group {
        self.frozen_statistics = true;
        self
    }

    /// The group as a file has it.
    ///
    /// # Errors
    /// Its optimizer cannot be written down.
    pub(crate) fn config(&self) -> Result<Table> {
        let mut table = Table::from_iter([("pattern".to_string(), Value::String(self.pattern.clone()))]);
        if self.name != group(self.pattern.as_str()).name {
            table.insert("name".into(), self.name.as_str().into());
        }
        match self.rate {
            Rate::Own(lr) => drop(table.insert("lr".into(), lr.into())),
            Rate::Factor(1.0) => {}
            Rate::Factor(factor) => drop(table.insert("lr_factor".into(), factor.into())),
        }
        let mut others = Table::new();
        for (setting, value) in &self.settings {
            let of = if setting == "weight_decay" { &mut table } else { &mut others };
            of.insert(setting.clone(), value.clone());
        }
        if !others.is_empty() {
            table.insert("settings".into(), Value::Table(others));
        }
        if self.frozen {
            table.insert("frozen".into(), true.into());
        }
        if self.frozen_statistics {
            table.insert("frozen_statistics".into(), true.into());
        }
        if let Some(optimizer) = &self.optimizer {
            table.insert("optimizer".into(), Value::Table(optimizer.config()?));
        }
        Ok(table)
    }

    /// Another optimizer.
    #[must_use]
    pub fn optimizer(mut self, optimizer: impl Optimizer + 'static) -> Group {
        self.optimizer = Some(Box::new(optimizer));
        self
    }
}

/// Whether a path fits a pattern.
fn fits(pattern: &str, path: &str) -> bool {
    let (pattern, path): (Vec<char>, Vec<char>) = (pattern.chars().collect(), path.chars().collect());
    // The last `*` seen, and how far of the path it has taken.
    let (mut p, mut s, mut star) = (0, 0, None);
    while s < path.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, s));
                p += 1;
            }
            Some(&c) if c == '?' || c == path[s] => {
                p += 1;
                s += 1;
            }
            _ => match star {
                Some((at, taken)) => {
                    star = Some((at, taken + 1));
                    (p, s) = (at + 1, taken + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&c| c == '*')
}

/// How gradients become new parameters: groups with their optimizers, clipping and accumulation.
pub(crate) struct Updates {
    /// The group of all that are in no other comes last and has no pattern.
    groups: Vec<Member>,
    pub clip_norm: Option<f64>,
    pub clip_value: Option<f64>,
    /// Batches whose gradients make one update.
    pub accumulate: usize,
    /// Whether the loss is scaled, for gradients of f16.
    pub scale_loss: bool,
    /// Whether a step gives the gradients of its batch.
    pub keep_gradients: bool,
    /// What a schedule multiplies all rates with.
    factor: f64,
}

/// What a step tells of its gradients.
pub(crate) struct Traced {
    /// Their global norm, where they are clipped by it.
    pub norm: Option<Tensor>,
    /// Whether all were finite, so that the step counts; where the loss is scaled.
    pub finite: Option<Tensor>,
    /// The gradients of the batch by the names of their parameters, where they are kept.
    pub gradients: Vec<(String, Tensor)>,
}

struct Member {
    name: String,
    pattern: Option<String>,
    optimizer: Box<dyn Optimizer>,
    rate: Rate,
    /// The learning rate before the schedule; `None` if the optimizer has none.
    lr: Option<f64>,
    /// What a schedule of its own multiplies its rate with.
    factor: Option<f64>,
    frozen: bool,
    frozen_statistics: bool,
}

fn lr_of(optimizer: &dyn Optimizer) -> Option<f64> {
    optimizer.settings().get("lr").and_then(Value::as_float)
}

/// Refuses what a program has set and no file could: setting anything reads all settings, with their ranges. Of
/// optimizers that are not declared, nobody knows the ranges.
fn check(optimizer: &dyn Optimizer) -> Result<()> {
    let settings = if optimizer.config().is_ok() { optimizer.settings() } else { Table::new() };
    let first = settings.into_iter().find(|(_, value)| !value.is_table());
    first.map_or(Ok(()), |(setting, value)| optimizer.duplicate().set(&setting, value))
}

fn invalid(message: String) -> Error {
    Error::of(ErrorKind::Setting, message)
}

impl Updates {
    /// With an optimizer for all parameters that are in no group.
    ///
    /// # Errors
    /// A setting of an optimizer is out of its range, as a file's would be; two groups share a name.
    pub fn new(optimizer: Box<dyn Optimizer>, groups: Vec<Group>) -> Result<Updates> {
        check(&*optimizer)?;
        let lr = lr_of(&*optimizer);
        let mut members: Vec<Member> = Vec::new();
        for group in groups {
            let Group { pattern, name, rate, settings, frozen, frozen_statistics, optimizer: own } = group;
            if members.iter().any(|other| other.name == name) {
                return Err(invalid(format!("two groups are called {name}"))
                    .advice("name one with Group::name", "give one of them a `name`"));
            }
            let rate = match (&own, rate) {
                // Another optimizer has its own rate unless one is given.
                (Some(own), Rate::Factor(factor)) => {
                    lr_of(&**own).map_or(Rate::Factor(factor), |lr| Rate::Own(lr * factor))
                }
                (_, rate) => rate,
            };
            if let Some(own) = &own {
                check(&**own).map_err(|error| error.context(format_args!("group {name}")))?;
            }
            let mut member = Member {
                optimizer: own.unwrap_or_else(|| optimizer.clone()),
                pattern: Some(pattern),
                name,
                rate,
                lr: None,
                factor: None,
                frozen,
                frozen_statistics,
            };
            let named = |error: Error, name: &str| error.context(format_args!("group {name}"));
            for (setting, value) in settings {
                member.optimizer.set(&setting, value).map_err(|error| named(error, &member.name))?;
            }
            member.lr = match rate {
                Rate::Own(lr) => Some(lr),
                Rate::Factor(factor) => lr.map(|lr| lr * factor),
            };
            if let Some(lr) = member.lr {
                member.optimizer.set_learning_rate(lr).map_err(|error| named(error, &member.name))?;
            }
            members.push(member);
        }
        let rest = Member {
            name: String::new(),
            pattern: None,
            optimizer,
            rate: Rate::Factor(1.0),
            lr,
            factor: None,
            frozen: false,
            frozen_statistics: false,
        };
        members.push(rest);
        Ok(Updates {
            groups: members,
            clip_norm: None,
            clip_value: None,
            accumulate: 1,
            scale_loss: false,
            keep_gradients: false,
            factor: 1.0,
        })
    }

    /// Traces the gradients of a loss and all that is made of them.
    pub fn trace(&self, scope: &Scope, loss: &Tensor) -> Result<Traced> {
        let mut parts: Vec<Vec<(String, Tensor)>> = self.groups.iter().map(|_| Vec::new()).collect();
        let parameters = scope.parameters();
        if parameters.is_empty() {
            return Err(Error::program("the network has no parameters, so there is nothing to train"));
        }
        for parameter in &parameters {
            let place = self
                .groups
                .iter()
                .position(|group| group.pattern.as_deref().is_none_or(|pattern| fits(pattern, &parameter.0)));
            parts[place.unwrap_or(self.groups.len() - 1)].push(parameter.clone());
        }
        for (group, part) in self.groups.iter().zip(&parts) {
            if let (Some(pattern), true) = (&group.pattern, part.is_empty()) {
                let names: Vec<&str> = parameters.iter().map(|(name, _)| name.as_str()).take(12).collect();
                return Err(invalid(format!(
                    "no parameter is left for the group {pattern}; there are {}{}",
                    names.join(", "),
                    if parameters.len() > names.len() { ", .." } else { "" }
                )));
            }
        }
        let trained: Vec<(usize, (String, Tensor))> = parts
            .into_iter()
            .enumerate()
            .filter(|(place, _)| !self.groups[*place].frozen)
            .flat_map(|(place, part)| part.into_iter().map(move |parameter| (place, parameter)))
            .collect();
        if trained.is_empty() {
            return Err(invalid("all parameters are frozen, so there is nothing to train".into()));
        }
        self.check_search(trained.iter().map(|(place, _)| *place))?;
        let wanted: Vec<&Tensor> = trained.iter().map(|(_, (_, value))| value).collect();
        let scale = self.scale_loss.then(|| LossScale::declare(scope));
        let scaled = scale.as_ref().map_or_else(|| loss.clone(), |scale| scale.scaled(loss));
        let gradients = gradients(&scaled, &wanted);
        let places: Vec<usize> = trained.iter().map(|(place, _)| *place).collect();
        let mut trained: Vec<Parameter> = trained
            .into_iter()
            .zip(gradients)
            .map(|((_, (name, value)), gradient)| Parameter { name, value, gradient })
            .collect();
        let finite = scale.as_ref().map(|scale| scale.unscale(&mut trained));
        let kept = trained.iter().filter(|_| self.keep_gradients);
        let kept = kept.map(|parameter| (parameter.name.clone(), parameter.gradient.clone())).collect();
        let accumulation =
            (self.accumulate > 1).then(|| accumulate::accumulate(scope, &mut trained, self.accumulate));
        if let Some(limit) = self.clip_value {
            clip::clip_by_value(&mut trained, &scope.hyperparameter(clip::VALUE, limit));
        }
        let norm = self.clip_norm.and_then(|limit| {
            clip::clip_by_global_norm(&mut trained, &scope.hyperparameter(clip::NORM, limit))
        });
        let mut parts: Vec<Vec<Parameter>> = self.groups.iter().map(|_| Vec::new()).collect();
        for (place, parameter) in places.into_iter().zip(trained) {
            parts[place].push(parameter);
        }
        scope.set_loss(loss);
        for (group, part) in self.groups.iter().zip(parts).filter(|(_, part)| !part.is_empty()) {
            group.trace(scope, &part)?;
        }
        if let Some(accumulation) = accumulation {
            scope.gate_updates(&accumulation.apply);
            accumulation.write(scope);
        }
        if let (Some(scale), Some(finite)) = (&scale, &finite) {
            scale.finish(scope, finite);
        }
        Ok(Traced { norm, finite, gradients: kept })
    }

    /// Whether an optimizer compares the losses of steps.
    pub fn compare_losses(&self) -> bool {
        self.groups.iter().any(|group| !group.frozen && group.optimizer.needs_loss())
    }

    /// Refuses what an optimizer that compares losses cannot go with. `trained` are the groups of the trained parameters.
    fn check_search(&self, trained: impl Iterator<Item = usize>) -> Result<()> {
        let places: BTreeSet<usize> = trained.collect();
        let Some(search) =
            places.iter().map(|&place| &self.groups[place]).find(|group| group.optimizer.needs_loss())
        else {
            return Ok(());
        };
        let optimizer = &search.optimizer;
        let is_around = optimizer.config().is_ok_and(|config| config.contains_key("optimizer"));
        let wrong = [
            (is_around, "another optimizer around it", "leave that out"),
            (
                places.len() > 1,
                "parameters that go another way",
                "freeze the other groups, or give them no settings of their own",
            ),
            (self.scale_loss, "f16, whose losses are scaled", "use bf16 or f32"),
            (self.accumulate > 1, "accumulation", "use larger batches"),
            (
                self.clip_norm.is_some() || self.clip_value.is_some(),
                "clipping",
                "leave it out: the search keeps steps short",
            ),
        ];
        let Some((_, what, advice)) = wrong.into_iter().find(|(is, ..)| *is) else { return Ok(()) };
        let message = format!(
            "{}: compares the losses of whole steps, which does not go with {what}; {advice}",
            optimizer.describe()
        );
        Err(invalid(message))
    }

    /// The runtime scalars of all groups under the names that the step knows, as they are now.
    pub fn hyperparameters(&self) -> Vec<(String, f64)> {
        let mut all = Vec::new();
        self.read_hyperparameters(&mut all, &mut Vec::new());
        all
    }

    /// As [`Updates::hyperparameters`], over what an earlier call gave: the names are the same in every step.
    /// `values` is memory to work in.
    pub fn read_hyperparameters(&self, all: &mut Vec<(String, f64)>, values: &mut Vec<(&'static str, f64)>) {
        let mut at = 0;
        for group in &self.groups {
            values.clear();
            group.optimizer.read_hyperparameters(values);
            for &(name, value) in &*values {
                match all.get_mut(at) {
                    Some((_, old)) => *old = value,
                    None => all.push((group.full_name(name), value)),
                }
                at += 1;
            }
        }
    }

    /// The settings of the group of this name, empty for that of all others.
    pub fn settings(&self, group: &str) -> Result<Table> {
        Ok(self.find(group)?.optimizer.settings())
    }

    /// Changes a setting of a group from the next step on.
    pub fn set(&mut self, group: &str, setting: &str, value: Value) -> Result<()> {
        let place = self.place(group)?;
        match value.as_float() {
            Some(lr) if setting == "lr" => self.set_learning_rate(place, lr),
            _ => self.groups[place].optimizer.set(setting, value),
        }
    }

    /// The learning rate of a group before the schedule; those that are multiples of it follow.
    fn set_learning_rate(&mut self, place: usize, lr: f64) -> Result<()> {
        let factor = self.factor;
        let member = &mut self.groups[place];
        member.optimizer.set_learning_rate(lr * member.factor.unwrap_or(factor))?;
        member.lr = Some(lr);
        if member.pattern.is_some() {
            member.rate = Rate::Own(lr);
            return Ok(());
        }
        for member in &mut self.groups[..place] {
            if let (Rate::Factor(multiple), Some(_)) = (member.rate, member.lr) {
                member.lr = Some(lr * multiple);
                member.optimizer.set_learning_rate(lr * multiple * member.factor.unwrap_or(factor))?;
            }
        }
        Ok(())
    }

    /// The learning rate of the group of all others before the schedule; `None` if its optimizer has none.
    pub fn learning_rate(&self) -> Option<f64> {
        self.groups.last()?.lr
    }

    /// What a schedule multiplies all learning rates with from the next step on.
    pub fn set_factor(&mut self, factor: f64) -> Result<()> {
        if factor == self.factor {
            return Ok(());
        }
        self.factor = factor;
        for member in self.groups.iter_mut().filter(|member| member.factor.is_none()) {
            if let Some(lr) = member.lr {
                member.optimizer.set_learning_rate(lr * factor)?;
            }
        }
        Ok(())
    }

    /// What a schedule of its own multiplies the learning rate of a group with from the next step on.
    pub fn set_factor_of(&mut self, group: &str, factor: f64) -> Result<()> {
        let place = self.place(group)?;
        let member = &mut self.groups[place];
        if member.factor != Some(factor) {
            member.factor = Some(factor);
            if let Some(lr) = member.lr {
                member.optimizer.set_learning_rate(lr * factor)?;
            }
        }
        Ok(())
    }

    /// Which running statistics stay as they are, by their full names: those of which the first group that fits says
    /// so.
    pub fn held_statistics(&self) -> Option<Held> {
        if !self.groups.iter().any(|group| group.frozen_statistics) {
            return None;
        }
        let groups: Vec<(String, bool)> = self
            .groups
            .iter()
            .filter_map(|group| Some((group.pattern.clone()?, group.frozen_statistics)))
            .collect();
        Some(Arc::new(move |name| {
            groups.iter().find(|(pattern, _)| fits(pattern, name)).is_some_and(|(_, held)| *held)
        }))
    }

    /// Whether a group is frozen.
    pub fn is_frozen(&self, group: &str) -> Result<bool> {
        self.find(group).map(|member| member.frozen)
    }

    /// Freezes a group or trains it again; gives whether that is a change.
    pub fn freeze(&mut self, group: &str, frozen: bool) -> Result<bool> {
        let place = self.place(group)?;
        Ok(std::mem::replace(&mut self.groups[place].frozen, frozen) != frozen)
    }

    fn place(&self, group: &str) -> Result<usize> {
        let place = self.groups.iter().position(|member| member.name == group);
        place.ok_or_else(|| {
            let names: Vec<&str> = self
                .groups
                .iter()
                .map(|member| member.name.as_str())
                .filter(|name| !name.is_empty())
                .collect();
            unknown("there is no group of parameters called", group, "there are", &names)
        })
    }

    fn find(&self, group: &str) -> Result<&Member> {
        self.place(group).map(|place| &self.groups[place])
    }
}

impl Member {
    fn full_name(&self, name: &str) -> String {
        if self.name.is_empty() { name.into() } else { format!("{}.{name}", self.name) }
    }

    /// Traces the update of the group's parameters.
    fn trace(&self, scope: &Scope, part: &[Parameter]) -> Result<()> {
        let before = scope.hyperparameters().len();
        self.optimizer.update(&scope.for_group(&self.name), part);
        let known: Vec<String> =
            self.optimizer.hyperparameters().iter().map(|(name, _)| self.full_name(name)).collect();
        // A scalar whose value nobody gives would stay at its default for ever.
        match scope.hyperparameters()[before..].iter().find(|name| !known.contains(name)) {
            None => Ok(()),
            Some(name) => Err(invalid(format!(
                "{} reads the runtime scalar {name}, which its hyperparameters() does not give; it gives {}",
                self.optimizer.describe(),
                known.join(", ")
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_of_paths() {
        for (pattern, path, expected) in [
            ("backbone.*", "backbone.0.weight", true),
            ("backbone.*", "backbone2.weight", false),
            ("*.bias", "a.b.bias", true),
            ("*.bias", "bias", false),
            ("fc?.weight", "fc1.weight", true),
            ("fc?.weight", "fc12.weight", false),
            ("*a*b*", "xxaxxbxx", true),
            ("*a*b", "ab.b.c", false),
            ("*", "", true),
        ] {
            assert_eq!(fits(pattern, path), expected, "{pattern} {path}");
        }
        assert_eq!(group("backbone.*").name, "backbone");
        assert_eq!(group("*").name, "all");
    }
}
