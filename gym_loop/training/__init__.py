"""One run from its file to its result, and many: trained, resumed, evaluated, checked, proved."""
