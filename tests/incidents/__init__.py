"""An operator's night: from each incident to the sentence that names its cause and the command that helps."""
