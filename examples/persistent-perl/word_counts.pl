#!/usr/bin/env perl
# How often each word occurs in a text. JSON::PP is part of Perl.
use strict;
use warnings;
use JSON::PP;

$| = 1;    # write each result at once
my $json = JSON::PP->new->utf8->canonical;

while (my $line = <STDIN>) {
    my $text = $json->decode($line)->{text};
    my %count;
    $count{ lc $_ }++ for $text =~ /\w+/g;
    print $json->encode(\%count), "\n";
}
