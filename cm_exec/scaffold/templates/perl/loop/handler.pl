#!/usr/bin/env perl
# A greeting. Each line of stdin is a query, each line of stdout its result, and stderr is the log.
use strict;
use warnings;
use JSON::PP;

# die ends the job with that error, and the next one gets a new process.
sub greet {
    my ($query) = @_;
    my $name = $query->{name} // '';
    die "the name is empty\n" if $name eq '';
    return "Hello, $name!";
}

$| = 1;    # write each result at once
my $json = JSON::PP->new->utf8->allow_nonref;

while (my $line = <STDIN>) {
    print $json->encode(greet($json->decode($line))), "\n";
}
