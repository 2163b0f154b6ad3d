# Replaces the mail addresses and card numbers in a text.
use strict;
use warnings;
use JSON::PP;

my $json = JSON::PP->new->utf8->canonical;
my $query = $json->decode(do { local $/; <STDIN> });
my $text = $query->{text} // die "the query has no text\n";

my $mails = ($text =~ s/[\w.+-]+@[\w-]+(?:\.[\w-]+)+/<mail>/g) || 0;
my $cards = ($text =~ s/\b(?:\d[ -]?){12,18}\d\b/<card>/g) || 0;

print $json->encode({text => $text, mails => $mails, cards => $cards});
