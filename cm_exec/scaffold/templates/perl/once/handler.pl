#!/usr/bin/env perl
# A greeting. The query comes on stdin, the result goes to stdout, and stderr is the log.
use strict;
use warnings;
use JSON::PP;

sub greet {
    my ($query) = @_;
    my $name = $query->{name} // '';
    die "the name is empty\n" if $name eq '';
    return "Hello, $name!";
}

my $json = JSON::PP->new->utf8->allow_nonref;
my $query = $json->decode(do { local $/; <STDIN> });
print $json->encode(greet($query));
