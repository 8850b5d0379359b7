//! Whole sentences that are understood as they are: help, thanks, undo, `what should I do next?`.

use super::{
    Request,
    steps::Step,
    words::{Word, plain},
};

/// One sentence after the other, a bar between.
const HELP: &str = "help|help me|hello|hi|hey|good morning|morning|good evening|what can you do|what can i say|what can i ask\
    |what do you do|what are you|who are you|how does this work|how do you work|how does it work|commands\
    |what can you do for me|what can i do here|i need help|need help|menu|hello there|hi there";
const THANKS: &str = "thanks|thank you|thanks a lot|many thanks|thank you very much|thank you so much|thanks so much|ok|okay\
    |great|cool|perfect|nice|good job|well done|awesome|ok thanks|good|cheers";
const UNDO: &str = "undo|undo that|undo it|undo this|undo last|undo the last|undo the last one|undo the last change\
    |undo my last change|undo the last thing|undo the last action|take that back|take it back|revert|revert that\
    |revert the last change|roll back|roll that back|oops|put it back|bring it back|that was a mistake|that was wrong\
    |my mistake|i did not mean that|put that back|bring that back|undo the delete|undo the deletion|undo the rename|undo the move|undo delete|go back";
const DROP: &str = "never mind|nevermind|forget it|cancel|stop|no|nope|nothing|forget that";
const NEXT: &str = "next|what now|now what|what next|what is next|and next|what should i do|what to do|what do i do\
    |what shall i do|what can i do|where to start|pick one|pick one for me|pick something|suggest something|suggest a task\
    |suggest one|what is the most important|what is most important|what is the most important task\
    |what is the most urgent task|what is most urgent|what comes next|next task|next one|what is the next task\
    |what is my next task|what is up next|show me the next task|give me something to do|give me a task|surprise me\
    |what is the most important thing|what is my most important task|what is my top priority|what is the top priority\
    |what would you do|which one is most urgent|which one is the most urgent|which task is most urgent\
    |which one is most important|which one is the most important|which task is the most important|what is the priority|any suggestions|any suggestion|what is the first thing i should do\
    |what would be best to do now|what would be best to do next|what do you suggest|what do you recommend";
/// A question that begins and ends so is for the next one, too.
const NEXT_BEGINS: &str = "what should i|what do i|what shall i|what can i|what must i|where should i|where do i|where shall i\
    |which task should i|which one should i|which should i|what to";
const NEXT_ENDS: &str = "next|now|first|start|begin|start with|begin with|do right now|work on|focus on|tackle";

const SIGHS: &[&str] = &["oops ", "ups ", "whoops ", "no ", "damn ", "oh no "];

pub fn parse(words: &[Word]) -> Option<Vec<Step>> {
    let all = plain(words);
    let said = SIGHS.iter().find_map(|sigh| all.strip_prefix(sigh)).unwrap_or(&all);
    let is_one_of = |sentences: &str| sentences.split('|').any(|sentence| sentence == said);
    let request = if is_one_of(HELP) {
        Request::Help
    } else if is_one_of(THANKS) {
        Request::Thanks
    } else if is_one_of(UNDO) {
        Request::Undo
    } else if is_one_of(DROP) {
        return Some(vec![Step::Drop]);
    } else if is_one_of(NEXT) || asks_for_next(said) {
        Request::Next
    } else {
        return None;
    };
    Some(vec![Step::Do(request)])
}

fn asks_for_next(said: &str) -> bool {
    let ends = |end: &str| said.strip_suffix(end).is_some_and(|rest| rest.ends_with(' '));
    NEXT_BEGINS.split('|').any(|begin| said.starts_with(begin)) && NEXT_ENDS.split('|').any(ends)
}

#[cfg(test)]
mod tests {
    use super::{super::words::split, *};

    #[test]
    fn whole_sentences_are_known() {
        for (said, wanted) in [
            ("Hello!", Request::Help),
            ("oops, undo that", Request::Undo),
            ("Which one should I start with?", Request::Next),
            ("what do I have to do now", Request::Next),
        ] {
            assert_eq!(parse(&split(said)), Some(vec![Step::Do(wanted)]), "{said}");
        }
        assert_eq!(parse(&split("never mind")), Some(vec![Step::Drop]));
        assert_eq!(parse(&split("what do I do on friday")), None);
    }
}
