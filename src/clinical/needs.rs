//! What a score lacks. A score whose inputs are incomplete is not computable and says what it needs;
//! no input is ever assumed.

use std::fmt;

use super::data::Field;

/// The inputs a score lacks, in the order of `clinical.json`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NeedsInputs(pub Vec<Field>);

impl fmt::Display for NeedsInputs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.0.iter().map(|field| field.name()).collect();
        write!(f, "not computable: needs {}", names.join(", "))
    }
}

/// Notes which inputs of a score are absent while they are read.
#[derive(Default)]
pub(super) struct Inputs {
    absent: Vec<Field>,
}

impl Inputs {
    /// The value, noted when it is absent.
    pub(super) fn need<T>(&mut self, field: Field, value: Option<T>) -> Option<T> {
        if value.is_none() {
            self.absent.push(field);
        }
        value
    }

    /// What a score that is itself an input lacks.
    pub(super) fn lack<T>(&mut self, needs: NeedsInputs) -> Option<T> {
        self.absent.extend(needs.0);
        None
    }

    /// Whether any of the facts holds: yes as soon as one does, no when none does, and unknown as
    /// long as an absent one could still decide it; then the absent ones are noted.
    pub(super) fn need_any(&mut self, facts: &[(Field, Option<bool>)]) -> Option<bool> {
        let answer = any(facts.iter().map(|(_, fact)| *fact));
        if answer.is_none() {
            let absent = facts.iter().filter(|(_, fact)| fact.is_none());
            self.absent.extend(absent.map(|(field, _)| *field));
        }
        answer
    }

    /// What was noted, each field once.
    pub(super) fn lacking(mut self) -> NeedsInputs {
        self.absent.sort_unstable();
        self.absent.dedup();
        NeedsInputs(self.absent)
    }
}

/// Logical "or" over facts that may be unknown.
pub(super) fn any(facts: impl IntoIterator<Item = Option<bool>>) -> Option<bool> {
    let mut answer = Some(false);
    for fact in facts {
        match fact {
            Some(true) => return Some(true),
            Some(false) => {}
            None => answer = None,
        }
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_fact_counts_only_where_it_could_decide() {
        for (facts, expected) in [
            ([Some(false), Some(false)], Some(false)),
            ([Some(true), Some(false)], Some(true)),
            ([None, Some(true)], Some(true)),
            ([Some(true), None], Some(true)),
            ([None, Some(false)], None),
            ([None, None], None),
        ] {
            assert_eq!(any(facts), expected, "{facts:?}");
        }
        let mut inputs = Inputs::default();
        let facts = [(Field::Pvtt, Some(false)), (Field::HepaticVeinInvasion, None)];
        assert_eq!(inputs.need_any(&facts), None);
        assert_eq!(inputs.need(Field::Ecog, None::<u32>), None);
        assert_eq!(inputs.need(Field::Ecog, None::<u32>), None);
        assert_eq!(inputs.lacking(), NeedsInputs(vec![Field::Ecog, Field::HepaticVeinInvasion]));
        let mut inputs = Inputs::default();
        let facts = [(Field::Pvtt, Some(true)), (Field::HepaticVeinInvasion, None)];
        assert_eq!(inputs.need_any(&facts), Some(true));
        assert_eq!(inputs.lacking(), NeedsInputs(vec![]));
    }
}
